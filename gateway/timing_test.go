package gateway

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"videosim/gateway/query"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

// times reads Server-Timing: the names in order, and milliseconds by name.
func (a reply) times() (names string, ms map[string]float64) {
	a.t.Helper()
	header := a.header.Get("Server-Timing")
	if header == "" {
		return "", nil
	}
	entry := regexp.MustCompile(`^([a-z]+);dur=([0-9]+\.[0-9]{3})$`)
	ms = map[string]float64{}
	for _, one := range strings.Split(header, ", ") {
		found := entry.FindStringSubmatch(one)
		if found == nil {
			a.t.Fatalf("Server-Timing %q: cannot read %q", header, one)
		}
		names += " " + found[1]
		ms[found[1]], _ = strconv.ParseFloat(found[2], 64) // as the pattern says
	}
	return names[1:], ms
}

// Every answer in JSON says which parts took place, and no others. The test's
// embedder says 250 ms, a second for every byte of the title, and 500 ms.
func TestServerTimingOfEveryAnswer(t *testing.T) {
	r := newRig(t)
	r.store(30)
	r.fill(30)
	const there = " prepare queue forward"
	long := strings.Repeat("x", event.MaxSpeechBytes)
	var more []string // more than one request to the embedders may hold
	for range 16 {
		more = append(more, fmt.Sprintf(`{"title":"aa","asr_text":%q}`, long))
	}
	for _, c := range []struct {
		name, method, path, body string
		want                     string
		queue                    float64 // ms
		requests                 int     // to the embedders, one after the other
	}{
		{"a content", "POST", "/v1/similar", `{"positive":[{"video":{"title":"abc"}}]}`, "embed" + there + " search total", 3000, 1},
		{"slowest of two", "POST", "/v1/similar", `{"positive":[{"video":{"title":"longer"}},{"video":{"title":"a"}}]}`, "embed" + there + " search total", 6000, 1},
		{"content and id", "POST", "/v1/similar", `{"positive":["v1",{"video":{"title":"ab"}}]}`, "fetch embed" + there + " search total", 2000, 1},
		{"id", "GET", "/v1/videos/v1/similar", "", "fetch search total", 0, 0},
		{"vector", "POST", "/v1/similar", asJSON(t, map[string]any{"positive": []any{map[string]any{"embedding": vectorOf("x")}}}), "search total", 0, 0},
		{"slowest query", "POST", "/v1/similar/batch", `{"queries":[{"positive":[{"video":{"title":"abcd"}}]},{"positive":[{"video":{"title":"ab"}}]},{"positive":["v1"]},{"positive":["nobody"]}]}`,
			"fetch embed" + there + " search total", 4000, 1},
		{"pair of contents", "POST", "/v1/similarity", `{"pairs":[[{"video":{"title":"abc"}},{"video":{"title":"abcde"}}]]}`, "embed" + there + " total", 5000, 1},
		{"pair of ids", "POST", "/v1/similarity", `{"pairs":[["v1","v2"]]}`, "fetch total", 0, 0},
		{"embeddings", "POST", "/v1/embeddings", `{"videos":[{"title":"longer"},{"title":"a"}]}`, "embed" + there + " total", 6000, 1},
		{"one request after another", "POST", "/v1/embeddings", `{"videos":[` + strings.Join(more, ",") + `]}`, "embed" + there + " total", 4000, 2},
		{"explanation", "GET", "/v1/videos/v1/explain/v2", "", "fetch total", 0, 0},
		{"video", "GET", "/v1/videos/v1", "", "fetch total", 0, 0},
		{"map", "GET", "/v1/map", "", "total", 0, 0},
		{"wait", "GET", "/v1/videos/v1/similar?min_sequence=31&wait_ms=5", "", "wait total", 0, 0},
		{"refusal", "POST", "/v1/similar", `{}`, "total", 0, 0},
		{"publish", "POST", "/v1/videos", `{"id":"new"}`, "total", 0, 0},
	} {
		got := r.call(c.method, c.path, c.body)
		names, ms := got.times()
		if names != c.want {
			t.Errorf("%s: %q, want %q: %s", c.name, names, c.want, got.body)
		}
		if want := 250 * float64(c.requests); ms["prepare"] != want || ms["queue"] != c.queue || ms["forward"] != 2*want {
			t.Errorf("%s: %v, want prepare %v, queue %v, forward %v", c.name, ms, want, c.queue, 2*want)
		}
	}
	evaluated := r.call("POST", "/v1/evaluations", "v1\tv2\t1\nv1\tv3\t0\n", "Content-Type", tsv)
	if names, _ := evaluated.want(200).times(); names != "fetch total" {
		t.Errorf("evaluation: %q", names)
	}
	lines := r.call("POST", "/v1/similarity", "v1\tv2\n", "Content-Type", tsv)
	if names, _ := lines.want(200).times(); names != "" {
		t.Errorf("lines: %q, and their head is sent before the work is done", names)
	}
}

// What nobody embeds again has no time for it: later pages, and remembered vectors.
func TestServerTimingOfWhatIsKnown(t *testing.T) {
	r := newRig(t)
	r.fill(30)
	first := r.call("POST", "/v1/similar", `{"positive":[{"video":{"title":"abc"}}],"k":5}`).want(200)
	body := fmt.Sprintf(`{"positive":[{"video":{"title":"abc"}}],"k":5,"page_token":%q}`, first.value["next_page_token"])
	second := r.call("POST", "/v1/similar", body).want(200)
	if names, _ := second.times(); names != "search total" {
		t.Errorf("second page: %q", names)
	}
	var err error
	if r.engine.Vectors, err = query.NewVectors(10); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"fetch search total", "search total"} {
		if names, _ := r.call("GET", "/v1/videos/v1/similar", "").want(200).times(); names != want {
			t.Errorf("by id: %q, want %q", names, want)
		}
	}
}

// The times are those that the parts took.
func TestServerTimingIsTrue(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	r.engine.Index = slowIndex{r.index} // 10 ms
	slow := busEmbedHandler(func(ctx context.Context, req *event.EmbedRequest) *event.EmbedReply {
		time.Sleep(30 * time.Millisecond)
		return embedTitles(ctx, req)
	})
	r.lane.Store(&slow)
	time.AfterFunc(50*time.Millisecond, func() { r.progress.set(11) })
	start := time.Now()
	_, ms := r.call("POST", "/v1/similar", `{"positive":[{"video":{"title":"a"}}],"min_sequence":11,"wait_ms":5000}`).want(200).times()
	took := time.Since(start).Seconds() * 1000
	if ms["wait"] < 30 || ms["embed"] < 30 || ms["search"] < 10 || ms["total"] > took || ms["wait"]+ms["embed"]+ms["search"] > ms["total"] {
		t.Errorf("%v in %v ms", ms, took)
	}
	r.engine.Index = failingIndex{r.index}
	names, _ := r.call("POST", "/v1/similar", `{"positive":[{"video":{"title":"a"}}]}`).want(500).times()
	if names != "embed prepare queue forward search total" {
		t.Errorf("a search that fails: %q", names)
	}
}

type failingIndex struct{ vecdb.Index }

func (failingIndex) Search(context.Context, vecdb.Query) ([]vecdb.Hit, error) {
	return nil, fmt.Errorf("a failure")
}
