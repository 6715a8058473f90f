package gateway

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sort"
	"strings"
	"testing"

	"videosim/shared/eval"
	"videosim/shared/event"
)

// nearest ranks v0…v(n-1) by cosine with a vector, the slow and obvious way.
func nearest(n int, query []float32, keep func(i int) bool) []string {
	type place struct {
		id     string
		cosine float64
	}
	var all []place
	for i := range n {
		if keep(i) {
			all = append(all, place{fmt.Sprintf("v%d", i), eval.Cosine(query, vectorOf(fmt.Sprintf("title %d", i)))})
		}
	}
	sort.Slice(all, func(a, b int) bool { return all[a].cosine > all[b].cosine })
	var ids []string
	for _, p := range all {
		ids = append(ids, p.id)
	}
	return ids
}

func TestSimilarToAVideo(t *testing.T) {
	r := newRig(t)
	r.fill(200)
	got := r.call("GET", "/v1/videos/v7/similar?k=5", "").want(http.StatusOK)
	want := nearest(200, vectorOf("title 7"), func(i int) bool { return i != 7 })[:5]
	if !slices.Equal(got.ids(), want) {
		t.Fatalf("ids %v, want %v", got.ids(), want)
	}
	first := got.value["results"].([]any)[0].(map[string]any)
	cosine := eval.Cosine(vectorOf("title 7"), vectorOf(first["title"].(string)))
	if d := math.Abs(first["cosine"].(float64) - cosine); d > 1e-6 {
		t.Errorf("cosine is off by %g", d)
	}
	if want := testManifest().Calibration.Score(first["cosine"].(float64)); first["score"].(float64) != want {
		t.Errorf("score %v, want %v", first["score"], want)
	}
	if got.value["model"] != testModel || got.value["indexed_sequence"].(float64) != 200 {
		t.Errorf("envelope: %s", got.body)
	}
}

func TestSimilarFilters(t *testing.T) {
	r := newRig(t)
	r.fill(100)
	for _, c := range []struct {
		name, query string
		keep        func(i int) bool
	}{
		{"category", "category=1,2", func(i int) bool { return i%3 != 0 }},
		{"tag", "tag=4", func(i int) bool { return i%5 == 4 }},
		{"after, inclusive", "published_after=2025-03-01T10:00:00Z", func(i int) bool { return i >= 10 }},
		{"before, exclusive", "published_before=2025-03-01T10:00:00Z", func(i int) bool { return i < 10 }},
		{"both and a category", "published_after=2025-03-01T10:00:00Z&published_before=2025-03-02T10:00:00Z&category=0", func(i int) bool { return i >= 10 && i < 34 && i%3 == 0 }},
		{"exclude", "exclude=v1,v2", func(i int) bool { return i != 1 && i != 2 }},
		{"min_score", "min_score=0.3", func(i int) bool {
			return testManifest().Calibration.Score(eval.Cosine(vectorOf("title 0"), vectorOf(fmt.Sprintf("title %d", i)))) >= 0.3
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := r.call("GET", "/v1/videos/v0/similar?k=100&"+c.query, "").want(http.StatusOK).ids()
			want := nearest(100, vectorOf("title 0"), func(i int) bool { return i != 0 && c.keep(i) })
			if !slices.Equal(got, want) {
				t.Errorf("ids %v\nwant %v", got, want)
			}
		})
	}
}

func TestSimilarBySeveral(t *testing.T) {
	r := newRig(t)
	r.fill(100)
	content, vector := vectorOf("a content"), vectorOf("a vector")
	want := make([]float32, testDim)
	for i := range want {
		want[i] = (vectorOf("title 1")[i]+content[i]+vector[i])/3 - (vectorOf("title 2")[i]+vectorOf("title 3")[i])/2
	}
	body := asJSON(t, map[string]any{
		"positive": []any{map[string]any{"id": "v1"}, map[string]any{"video": map[string]any{"title": "a content", "asr_text": "speech"}}, map[string]any{"embedding": vector}},
		"negative": []any{"v2", map[string]any{"id": "v3"}},
		"k":        20,
	})
	got := r.call("POST", "/v1/similar", body).want(http.StatusOK)
	ids := nearest(100, want, func(i int) bool { return i < 1 || i > 3 })[:20]
	if !slices.Equal(got.ids(), ids) {
		t.Errorf("ids %v\nwant %v", got.ids(), ids)
	}
	reports := got.value["inputs"].([]any)
	if len(reports) != 1 {
		t.Fatalf("reports: %s", got.body)
	}
	if rep := reports[0].(map[string]any); rep["input"] != "positive[1]" || fmt.Sprint(rep["modalities"]) != "[title speech]" {
		t.Errorf("report: %v", rep)
	}
}

func TestSimilarMissing(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	got := r.call("POST", "/v1/similar", `{"positive":["v1","nobody"],"negative":["noone"]}`).problem(404, "not-found", "")
	if fmt.Sprint(got.value["missing_ids"]) != "[nobody noone]" {
		t.Errorf("missing: %s", got.body)
	}
	got = r.call("POST", "/v1/similar", `{"positive":["v1","nobody"],"negative":["noone"],"on_missing":"skip"}`).want(200)
	if fmt.Sprint(got.value["missing_ids"]) != "[nobody noone]" || len(got.ids()) != 9 {
		t.Errorf("skipped: %s", got.body)
	}
	r.call("POST", "/v1/similar", `{"positive":["nobody"],"on_missing":"skip"}`).problem(404, "not-found", "")
	r.call("GET", "/v1/videos/nobody/similar", "").problem(404, "not-found", "")
}

func TestSimilarRefusals(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	for _, c := range []struct{ name, body, field string }{
		{"empty", ``, ""},
		{"not JSON", `{`, ""},
		{"a list", `[]`, ""},
		{"nothing to be like", `{}`, "positive"},
		{"unknown name", `{"positive":["v1"],"postive":[]}`, "postive"},
		{"unknown name deep", `{"positive":[{"idd":"v1"}]}`, "positive[0].idd"},
		{"name in another case", `{"Positive":["v1"]}`, "Positive"},
		{"repeated name", `{"k":1,"k":2,"positive":["v1"]}`, "k"},
		{"trailing data", `{"positive":["v1"]} x`, ""},
		{"wrong type", `{"positive":["v1"],"k":"5"}`, "k"},
		{"fraction", `{"positive":["v1"],"k":1.5}`, "k"},
		{"k too large", `{"positive":["v1"],"k":1001}`, "k"},
		{"k zero", `{"positive":["v1"],"k":0}`, "k"},
		{"NaN", `{"positive":[{"embedding":[NaN]}]}`, "positive[0].embedding[0]"},
		{"too large a number", `{"positive":[{"embedding":[1e39]}]}`, "positive[0].embedding[0]"},
		{"dimension", `{"positive":[{"embedding":[1,2,3]}]}`, "positive[0].embedding"},
		{"zero vector", `{"positive":[{"embedding":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}]}`, "positive[0].embedding"},
		{"two forms", `{"positive":[{"id":"v1","embedding":[1]}]}`, "positive[0]"},
		{"no form", `{"positive":[{}]}`, "positive[0]"},
		{"long id", `{"positive":["` + strings.Repeat("x", 65) + `"]}`, "positive[0]"},
		{"zero byte in an id", `{"positive":["v1"],"exclude":["v2","a\u0000b"]}`, "exclude[1]"},
		{"content's field", `{"positive":[{"video":{"titel":"x"}}]}`, "positive[0].video.titel"},
		{"content's type", `{"positive":[{"video":{"title":5}}]}`, "positive[0].video.title"},
		{"content's frames", `{"positive":[{"video":{"title":"x","frames":{"dim":5,"count":1,"data":"AAAA"}}}]}`, "positive[0].video.frames.dim"},
		{"empty content", `{"positive":[{"video":{"id":"x"}}]}`, "positive[0].video"},
		{"a content that deletes", `{"positive":[{"video":{"id":"x","op":"DELETE"}}]}`, "positive[0].video.op"},
		{"cancelled", `{"positive":["v1"],"negative":["v1"]}`, "negative"},
		{"min_score", `{"positive":["v1"],"min_score":1.5}`, "min_score"},
		{"diversity", `{"positive":["v1"],"diversity":-1}`, "diversity"},
		{"on_missing", `{"positive":["v1"],"on_missing":"ignore"}`, "on_missing"},
		{"times", `{"positive":["v1"],"filter":{"published_after":"2025-03-02T00:00:00Z","published_before":"2025-03-01T00:00:00Z"}}`, "filter.published_before"},
		{"not a time", `{"positive":["v1"],"filter":{"published_after":"yesterday"}}`, "filter.published_after"},
		{"empty exclude", `{"positive":["v1"],"exclude":[""]}`, "exclude[0]"},
		{"wait alone", `{"positive":["v1"],"wait_ms":5}`, "min_sequence"},
		{"negative sequence", `{"positive":["v1"],"min_sequence":-1}`, "min_sequence"},
		{"token", `{"positive":["v1"],"page_token":"abc"}`, "page_token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			r.call("POST", "/v1/similar", c.body, "Content-Type", "application/json").problem(400, "invalid", c.field)
		})
	}
	for query, field := range map[string]string{
		"k=x": "k", "kk=1": "kk", "k=1&k=2": "k", "category=a": "category", "min_score=NaN": "min_score", "published_after=1": "published_after", "min_sequence=-1": "min_sequence",
	} {
		t.Run(query, func(t *testing.T) {
			r.t = t
			r.call("GET", "/v1/videos/v1/similar?"+query, "").problem(400, "invalid", field)
		})
	}
	r.t = t
	r.call("POST", "/v1/similar", `{}`, "Content-Type", "text/html").problem(415, "unsupported-media-type", "Content-Type")
}

func TestSimilarEmbedderFails(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	body := `{"positive":["v1",{"video":{"title":"x"}}]}`
	fail := func(reply *event.EmbedReply) {
		handler := func(context.Context, *event.EmbedRequest) *event.EmbedReply { return reply }
		r.lane.Store((*busEmbedHandler)(&handler))
	}
	fail(&event.EmbedReply{Error: "full", ErrorKind: "overloaded"})
	if got := r.call("POST", "/v1/similar", body).problem(429, "overloaded", ""); got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	fail(&event.EmbedReply{Results: []*event.EmbedResult{{Error: "expected finite numbers", ErrorKind: "invalid", ErrorField: "frames.data"}}})
	r.call("POST", "/v1/similar", body).problem(400, "invalid", "positive[1].video.frames.data")
	fail(&event.EmbedReply{Results: []*event.EmbedResult{{Embedding: []float32{1}}}})
	r.call("POST", "/v1/similar", body).problem(500, "corrupt", "")
}

func TestSimilarFreshness(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	r.call("GET", "/v1/videos/v1/similar?min_sequence=10", "").want(200)
	r.call("GET", "/v1/videos/v1/similar?min_sequence=11", "").problem(504, "sequence-not-reached", "")
	r.call("POST", "/v1/similar", `{"positive":["v1"],"min_sequence":11,"wait_ms":20}`).problem(504, "sequence-not-reached", "")
	done := make(chan reply)
	go func() { done <- r.call("GET", "/v1/videos/v1/similar?min_sequence=11&wait_ms=5000", "") }()
	r.progress.set(11)
	if got := (<-done).want(200); got.value["indexed_sequence"].(float64) < 11 {
		t.Errorf("answered too early: %s", got.body)
	}
}

func TestSimilarDeadline(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	handler := func(ctx context.Context, _ *event.EmbedRequest) *event.EmbedReply {
		<-ctx.Done() // the caller's deadline reaches the embedder
		return &event.EmbedReply{Error: "late", ErrorKind: "unavailable"}
	}
	r.lane.Store((*busEmbedHandler)(&handler))
	r.call("POST", "/v1/similar", `{"positive":[{"video":{"title":"x"}}]}`, "Videosim-Timeout-Ms", "100").problem(503, "unavailable", "")
	r.call("POST", "/v1/similar", `{}`, "Videosim-Timeout-Ms", "0").problem(400, "invalid", "Videosim-Timeout-Ms")
}
