package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"videosim/shared/eval"
	"videosim/shared/vecdb"
)

// Every list of a request has an end, and the message says where.
func TestListsHaveEnds(t *testing.T) {
	r := newRig(t)
	r.fill(5)
	many := func(n int, item string) string { return strings.Repeat(item+",", n-1) + item }
	for _, c := range []struct {
		path, form, item string
		most             int
		field            string
		otherwise        int // status with as many as are allowed
	}{
		{"/v1/similar", `{"positive":[%s]}`, `"v1"`, 256, "positive", 200},
		{"/v1/similar", `{"positive":["v1"],"negative":[%s]}`, `"v2"`, 255, "positive", 200},
		{"/v1/similar", `{"positive":[%s]}`, `{"video":{"title":"x"}}`, 64, "positive[64]", 200},
		{"/v1/similar", `{"positive":["v1"],"exclude":[%s]}`, `"v2"`, 1000, "exclude", 200},
		{"/v1/similar", `{"positive":["v1"],"filter":{"category_ids":[%s]}}`, `1`, 256, "filter.category_ids", 200},
		{"/v1/similar", `{"positive":["v1"],"filter":{"tag_ids":[%s]}}`, `1`, 256, "filter.tag_ids", 200},
		{"/v1/similar/batch", `{"queries":[%s]}`, `{"positive":["v1"]}`, 64, "queries", 200},
		{"/v1/similarity", `{"pairs":[%s]}`, `["v1","v2"]`, 8192, "pairs", 200},
		{"/v1/embeddings", `{"videos":[%s]}`, `{"title":"x"}`, 64, "videos", 200},
	} {
		r.call("POST", c.path, fmt.Sprintf(c.form, many(c.most, c.item))).want(c.otherwise)
		got := r.call("POST", c.path, fmt.Sprintf(c.form, many(c.most+1, c.item))).problem(400, "invalid", c.field)
		if !strings.Contains(got.value["detail"].(string), "expected") {
			t.Errorf("%s: %s", c.field, got.body)
		}
	}
}

// Filters at their edges: an unknown time passes none on time, an empty list
// restricts nothing, no tags match no tag, negative categories are categories.
func TestFilterEdges(t *testing.T) {
	r := newRig(t)
	day := func(n int) time.Time { return epoch.AddDate(0, 0, n) }
	vector := func(id string) []float32 { return vectorOf("edge " + id) }
	records := []vecdb.Record{
		{ID: "asked"}, {ID: "no time", CategoryID: 1, TagIDs: []int64{1}}, {ID: "no tags", CategoryID: 1, PublishedAt: day(1)},
		{ID: "many tags", CategoryID: 2, TagIDs: []int64{1, 2, 9223372036854775807}, PublishedAt: day(2)},
		{ID: "below zero", CategoryID: -7, TagIDs: []int64{-1}, PublishedAt: time.Date(1969, 7, 20, 20, 17, 40, 0, time.UTC)},
	}
	for i := range records {
		records[i].Embedding = vector(records[i].ID)
	}
	if err := r.index.Upsert(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	all := []string{"below zero", "many tags", "no tags", "no time"}
	for filter, want := range map[string][]string{
		`{}`:                                          all,
		`{"category_ids":[],"tag_ids":[]}`:            all,
		`{"category_ids":[1]}`:                        {"no tags", "no time"},
		`{"category_ids":[-7,2]}`:                     {"below zero", "many tags"},
		`{"category_ids":[3]}`:                        {},
		`{"tag_ids":[1]}`:                             {"many tags", "no time"},
		`{"tag_ids":[2,-1]}`:                          {"below zero", "many tags"},
		`{"tag_ids":[9223372036854775807]}`:           {"many tags"},
		`{"tag_ids":[0]}`:                             {},
		`{"published_after":"1900-01-01T00:00:00Z"}`:  {"below zero", "many tags", "no tags"},
		`{"published_before":"2100-01-01T00:00:00Z"}`: {"below zero", "many tags", "no tags"},
		`{"published_after":"2025-03-02T08:00:00+08:00","published_before":"2025-03-03T00:00:00Z"}`: {"no tags"},
		`{"published_after":"2025-03-03T00:00:00.000000001Z"}`:                                      {},
		`{"category_ids":[1],"tag_ids":[1],"published_after":"1900-01-01T00:00:00Z"}`:               {},
	} {
		got := r.call("POST", "/v1/similar", `{"positive":["asked"],"filter":`+filter+`}`).want(200)
		ids := got.ids()
		slices.Sort(ids)
		if !slices.Equal(ids, want) {
			t.Errorf("%s: %v, want %v", filter, ids, want)
		}
		for _, result := range got.value["results"].([]any) {
			if row := result.(map[string]any); (row["id"] == "no time") == (row["published_at"] != nil) {
				t.Errorf("%s: published_at of %v", filter, row)
			}
		}
	}
	if got := r.call("GET", "/v1/videos/asked/similar?category=&tag=&exclude=", "").want(200).ids(); len(got) != 4 {
		t.Errorf("empty parameters: %v", got)
	}
}

// min_score is on the scale of score, not of cosine, and includes its edge.
func TestMinScoreIsTheCalibratedScore(t *testing.T) {
	r := newRig(t)
	r.fill(60)
	whole := r.call("POST", "/v1/similar", `{"positive":["v0"],"k":59}`).want(200).value["results"].([]any)
	curve, last := testManifest().Calibration, 2.0
	for i, result := range whole {
		row := result.(map[string]any)
		score := row["score"].(float64)
		if score != curve.Score(row["cosine"].(float64)) || score > last {
			t.Fatalf("place %d: %v behind %v", i, row, last)
		}
		last = score
		if i%10 != 9 {
			continue
		}
		for _, diversity := range []float64{0, 0.5} {
			got := r.call("POST", "/v1/similar", fmt.Sprintf(`{"positive":["v0"],"k":59,"min_score":%v,"diversity":%v}`, score, diversity)).want(200).ids()
			if len(got) != i+1 {
				t.Errorf("min_score %v, diversity %v: %d results, want %d", score, diversity, len(got), i+1)
			}
		}
	}
	if got := r.call("POST", "/v1/similar", `{"positive":["v0"],"min_score":1}`).want(200); len(got.ids()) != 0 || got.value["next_page_token"] != nil {
		t.Errorf("nobody is that alike: %s", got.body)
	}
	// Walked in pages, the answer ends where the scores do.
	pages, _ := r.walk(map[string]any{"positive": []any{"v0"}, "k": 7, "min_score": curve.Score(eval.Cosine(vectorOf("title 0"), vectorOf("title "+whole[30].(map[string]any)["id"].(string)[1:]))) - 1e-6}, nil)
	if n := len(slices.Concat(pages...)); n != 31 {
		t.Errorf("%d results in pages, want 31", n)
	}
}

// Ids asked about, positive or negative, and excluded ones never show.
func TestWhatNeverShows(t *testing.T) {
	r := newRig(t)
	r.fill(30)
	pages, _ := r.walk(map[string]any{"positive": []any{"v0", "v1", "v1"}, "negative": []any{"v2"}, "exclude": []any{"v3", "v3", "unheard of"}, "k": 4}, nil)
	found := slices.Concat(pages...)
	slices.Sort(found)
	if len(found) != 26 || len(slices.Compact(slices.Clone(found))) != 26 {
		t.Errorf("%d results: %v", len(found), found)
	}
	for _, id := range []string{"v0", "v1", "v2", "v3"} {
		if slices.Contains(found, id) {
			t.Errorf("%s shows", id)
		}
	}
	batch := r.call("POST", "/v1/similar/batch", `{"queries":[{"positive":["x","v1"],"on_missing":"skip"},{"positive":["v1"],"negative":["y","x"],"on_missing":"skip"},{"positive":["z"]}]}`).want(200)
	if fmt.Sprint(batch.value["missing_ids"]) != "[x y]" {
		t.Errorf("missing: %v", batch.value["missing_ids"])
	}
	batch.item(2, "problem", "")
}
