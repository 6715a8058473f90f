package gateway

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"sync"
	"testing"

	"videosim/shared/eval"
	"videosim/shared/event"
)

// near fails the test unless a number of an answer is what it should be.
func near(t *testing.T, what string, got any, want float64) {
	t.Helper()
	const most = 1e-6
	if x, ok := got.(float64); !ok || math.Abs(x-want) > most {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func dotOf(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// The terms are those of the stored halves and add up to the cosine that a
// pair is scored with.
func TestExplainTerms(t *testing.T) {
	p := newPath(t, free)
	titles := []string{"first", "second", "third", "fourth"}
	var last int64
	for i, title := range titles {
		last = int64(p.call("POST", "/v1/videos", fmt.Sprintf(`{"id":"t%d","title":%q}`, i, title)).want(202).sequence())
	}
	p.call("GET", fmt.Sprintf("/v1/videos/t0/explain/t1?min_sequence=%d&wait_ms=5000", last), "").want(200)
	for i, a := range titles {
		for j, b := range titles {
			got := p.call("GET", fmt.Sprintf("/v1/videos/t%d/explain/t%d", i, j), "").want(200).value
			pair := p.call("POST", "/v1/similarity", fmt.Sprintf(`{"pairs":[["t%d","t%d"]]}`, i, j)).want(200).value["results"].([]any)[0].(map[string]any)
			lateA, earlyA := halvesOf(a)
			lateB, earlyB := halvesOf(b)
			lengths := lengthOf(lateA, earlyA) * lengthOf(lateB, earlyB)
			near(t, "late", got["late"], dotOf(lateA, lateB)/lengths)
			near(t, "early", got["early"], dotOf(earlyA, earlyB)/lengths)
			near(t, "late_early", got["late_early"], dotOf(lateA, earlyB)/lengths)
			near(t, "early_late", got["early_late"], dotOf(earlyA, lateB)/lengths)
			near(t, "cross", got["cross"], (dotOf(lateA, earlyB)+dotOf(earlyA, lateB))/lengths)
			near(t, "late + early + cross", got["late"].(float64)+got["early"].(float64)+got["cross"].(float64), pair["cosine"].(float64))
			near(t, "cosine", got["cosine"], pair["cosine"].(float64))
			near(t, "score", got["score"], pair["score"].(float64))
		}
	}
	if missing := p.call("GET", "/v1/videos/t0/explain/x", "").problem(404, "not-found", ""); fmt.Sprint(missing.value["missing_ids"]) != "[x]" {
		t.Errorf("missing: %s", missing.body)
	}
}

func lengthOf(late, early []float32) float64 {
	sum := make([]float32, len(late))
	for i := range sum {
		sum[i] = late[i] + early[i]
	}
	return math.Sqrt(dotOf(sum, sum))
}

// lane is an embedder of all three modalities, which keeps what it was asked.
type lane struct {
	mu    sync.Mutex
	asked []*event.VideoEvent
}

func (l *lane) embed(_ context.Context, req *event.EmbedRequest) *event.EmbedReply {
	l.mu.Lock()
	defer l.mu.Unlock()
	reply := &event.EmbedReply{}
	for _, v := range req.Videos {
		l.asked = append(l.asked, v)
		late, early := wholeOf(v)
		embedding, err := eval.Combine(late, early)
		if err != nil {
			panic(err)
		}
		reply.Results = append(reply.Results, &event.EmbedResult{Embedding: embedding, Late: late, Early: early, Input: &event.InputReport{}})
	}
	return reply
}

// wholeOf adds up the halves of a video's modalities.
func wholeOf(v *event.VideoEvent) (late, early []float32) {
	late, early = make([]float32, testDim), make([]float32, testDim)
	parts := []string{v.Title, v.AsrText, string(v.GetFrames().GetData())}
	for place, text := range parts {
		if text == "" {
			continue
		}
		l, e := halvesOf(fmt.Sprint(place, text))
		for i := range late {
			late[i] += l[i]
			early[i] += e[i]
		}
	}
	return late, early
}

func wholeCosine(t *testing.T, a, b *event.VideoEvent) float64 {
	t.Helper()
	x, errX := eval.Combine(wholeOf(a))
	y, errY := eval.Combine(wholeOf(b))
	if errX != nil || errY != nil {
		t.Fatal(errX, errY)
	}
	return dotOf(x, y)
}

// Each modality is left out of both videos, through the interactive lane; its
// gain is what the cosine loses.
func TestExplainModalities(t *testing.T) {
	p := newPath(t, free)
	l := &lane{}
	if err := p.bus.ServeEmbed(t.Context(), testModel, l.embed); err != nil {
		t.Fatal(err)
	}
	frames := func(first byte) string {
		data := make([]byte, 2*testFrameDim)
		data[0] = first
		return base64.StdEncoding.EncodeToString(data)
	}
	body := func(id string, first byte) string {
		return fmt.Sprintf(`{"id":%q,"title":"title of %s","asr_text":"words of %s","frames":{"dim":%d,"count":1,"data":%q}}`, id, id, id, testFrameDim, frames(first))
	}
	p.call("POST", "/v1/videos", body("a", 1)).want(202)
	p.call("POST", "/v1/videos", `{"id":"bare","title":"a title and nothing else"}`).want(202)
	last := p.call("POST", "/v1/videos", body("b", 2)).want(202).sequence()
	got := p.call("GET", fmt.Sprintf("/v1/videos/a/explain/b?modalities=true&min_sequence=%d&wait_ms=5000", last), "").want(200)
	if len(l.asked) != 8 {
		t.Fatalf("%d contents embedded, want 2 whole and 2 without each of 3", len(l.asked))
	}
	a, b := l.asked[0], l.asked[1]
	if a.Title != "title of a" || a.AsrText != "words of a" || a.Frames.GetCount() != 1 || b.Title != "title of b" {
		t.Fatalf("whole: %v %v", a, b)
	}
	whole, total := wholeCosine(t, a, b), 0.0
	var gains []float64
	for i, left := range []func(v *event.VideoEvent) bool{
		func(v *event.VideoEvent) bool { return v.Title == "" && v.AsrText != "" && v.Frames != nil },
		func(v *event.VideoEvent) bool { return v.Title != "" && v.AsrText == "" && v.Frames != nil },
		func(v *event.VideoEvent) bool { return v.Title != "" && v.AsrText != "" && v.Frames == nil },
	} {
		a, b := l.asked[2+2*i], l.asked[3+2*i]
		if !left(a) || !left(b) || a.Id != "a" || b.Id != "b" {
			t.Errorf("left out %d: %v %v", i, a, b)
		}
		gains = append(gains, whole-wholeCosine(t, a, b))
		total += max(0, gains[i])
	}
	for i, name := range []string{"title", "speech", "frames"} {
		m := got.value["modalities"].([]any)[i].(map[string]any)
		if m["name"] != name {
			t.Fatalf("modality %d: %v, want %s", i, m, name)
		}
		near(t, "gain of "+name, m["gain"], gains[i])
		near(t, "share of "+name, m["share"], max(0, gains[i])/max(total, 1e-300))
	}
	alone := p.call("GET", "/v1/videos/a/explain/bare?modalities=true", "").want(200).value["modalities"].([]any)
	if title := alone[0].(map[string]any); title["gain"] != nil || title["share"] != nil {
		t.Errorf("a title that is all a video has was left out: %v", title)
	}
}

// Between an edit and its place in the index the parts of an explanation are
// of different versions, and it says which.
func TestExplainTellsVersions(t *testing.T) {
	p := newPath(t, 2)
	if err := p.bus.ServeEmbed(t.Context(), testModel, embedTitles); err != nil {
		t.Fatal(err)
	}
	p.call("POST", "/v1/videos", `{"id":"a","title":"first"}`).want(202)
	p.call("POST", "/v1/videos", `{"id":"b","title":"second"}`).want(202)
	versions := func(query string) [3]float64 {
		t.Helper()
		side := p.call("GET", "/v1/videos/a/explain/b?modalities=true"+query, "").want(200).value["a"].(map[string]any)
		return [3]float64{side["sequence"].(float64), side["indexed"].(float64), side["reembedded"].(float64)}
	}
	if got := versions("&min_sequence=2&wait_ms=5000"); got != [3]float64{1, 1, 1} {
		t.Errorf("settled: compared, indexed, embedded again: %v", got)
	}
	p.call("POST", "/v1/videos", `{"id":"a","title":"edited"}`).want(202)
	if got := versions(""); got != [3]float64{1, 1, 3} {
		t.Errorf("published: compared, indexed, embedded again: %v", got)
	}
	p.embedding <- struct{}{}
	for t.Context().Err() == nil {
		if e, err := p.bus.LastEmbedding(t.Context(), testModel, "a"); err == nil && e.Sequence == 3 {
			break
		}
	}
	if got := versions(""); got != [3]float64{3, 1, 3} {
		t.Errorf("embedded: compared, indexed, embedded again: %v", got)
	}
	p.indexing <- struct{}{}
	if got := versions("&min_sequence=3&wait_ms=5000"); got != [3]float64{3, 3, 3} {
		t.Errorf("indexed: compared, indexed, embedded again: %v", got)
	}
	p.call("DELETE", "/v1/videos/a", "").want(202)
	p.call("GET", "/v1/videos/a/explain/b?modalities=true", "").problem(404, "not-found", "")
}
