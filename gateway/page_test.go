package gateway

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"videosim/shared/vecdb"
)

func TestPagesWalkOneList(t *testing.T) {
	r := newRig(t)
	r.fill(60)
	for _, diversity := range []string{"", "&diversity=0.4"} {
		whole := r.call("GET", "/v1/videos/v0/similar?k=59"+diversity, "").want(200).ids()
		var walked []string
		token := ""
		for page := range 7 {
			got := r.call("GET", "/v1/videos/v0/similar?k=10"+diversity+"&page_token="+url.QueryEscape(token), "").want(200)
			walked = append(walked, got.ids()...)
			token, _ = got.value["next_page_token"].(string)
			if (token == "") != (page == 5) {
				t.Fatalf("page %d: token %q", page, token)
			}
			if token == "" {
				break
			}
		}
		if diversity == "" && !slices.Equal(walked, whole) {
			t.Errorf("pages %v\nwant %v", walked, whole)
		}
		slices.Sort(walked)
		if len(walked) != 59 || len(slices.Compact(walked)) != 59 {
			t.Errorf("%d results, repeats among them: %v", len(walked), walked)
		}
	}
}

// While pages are walked, videos come, go and move: none is shown twice, and
// the places do not shift.
func TestPagesStandStill(t *testing.T) {
	r := newRig(t)
	r.fill(60)
	want := r.call("GET", "/v1/videos/v0/similar?k=59", "").want(200).ids()
	first := r.call("GET", "/v1/videos/v0/similar?k=10", "").want(200)
	// A better match than all arrives, and one that was shown moves far down.
	shown := want[3]
	if err := r.index.Upsert(t.Context(), []vecdb.Record{{ID: "new", Embedding: vectorOf("title 0")}, {ID: shown, Embedding: negated(vectorOf("title 0"))}}); err != nil {
		t.Fatal(err)
	}
	second := r.call("GET", "/v1/videos/v0/similar?k=10&page_token="+first.value["next_page_token"].(string), "").want(200)
	if !slices.Equal(second.ids(), want[10:20]) {
		t.Fatalf("second page %v, want %v", second.ids(), want[10:20])
	}
	// From here on the list is frozen: a deleted video leaves a gap, no more.
	if err := r.index.Delete(t.Context(), []string{want[22]}); err != nil {
		t.Fatal(err)
	}
	third := r.call("GET", "/v1/videos/v0/similar?k=10&page_token="+second.value["next_page_token"].(string), "").want(200)
	if expected := slices.Concat(want[20:22], want[23:30]); !slices.Equal(third.ids(), expected) {
		t.Fatalf("third page %v, want %v", third.ids(), expected)
	}
}

func negated(v []float32) []float32 {
	for i := range v {
		v[i] = -v[i]
	}
	return v
}

func TestPageTokensBelongToTheirQuery(t *testing.T) {
	r := newRig(t)
	r.fill(60)
	token := r.call("GET", "/v1/videos/v0/similar?k=10", "").want(200).value["next_page_token"].(string)
	r.call("GET", "/v1/videos/v1/similar?k=10&page_token="+token, "").problem(400, "invalid", "page_token")
	r.call("GET", "/v1/videos/v0/similar?k=11&page_token="+token, "").problem(400, "invalid", "page_token")
	forged := "A" + token[1:]
	if forged == token {
		forged = "B" + token[1:]
	}
	r.call("GET", "/v1/videos/v0/similar?k=10&page_token="+forged, "").problem(400, "invalid", "page_token")
	other := newRig(t, func(c *Config) { c.PageTokenKey = "another" })
	other.fill(60)
	other.call("GET", "/v1/videos/v0/similar?k=10&page_token="+token, "").problem(400, "invalid", "page_token")
}

func TestBatch(t *testing.T) {
	r := newRig(t)
	r.fill(30)
	got := r.call("POST", "/v1/similar/batch", `{"queries":[{"positive":["v1"],"k":3},{"positive":["nobody"]},{"positive":["v2","gone"],"on_missing":"skip"},{"positive":["v1"],"k":0}]}`).want(200)
	items := got.value["answers"].([]any)
	single := r.call("POST", "/v1/similar", `{"positive":["v1"],"k":3}`).want(200)
	if fmt.Sprint(items[0].(map[string]any)["answer"].(map[string]any)["results"]) != fmt.Sprint(single.value["results"]) {
		t.Errorf("first answer: %v", items[0])
	}
	for i, want := range map[int]string{1: "not-found", 3: "invalid"} {
		p, _ := items[i].(map[string]any)["problem"].(map[string]any)
		if p["type"] != problemPrefix+want {
			t.Errorf("answer %d: %v, want the problem %s", i, items[i], want)
		}
	}
	if p := items[3].(map[string]any)["problem"].(map[string]any); p["field"] != "queries[3].k" {
		t.Errorf("field %v", p["field"])
	}
	if fmt.Sprint(got.value["missing_ids"]) != "[gone]" {
		t.Errorf("missing: %v", got.value["missing_ids"])
	}
	r.call("POST", "/v1/similar/batch", `{"queries":[]}`).problem(400, "invalid", "queries")
	r.call("POST", "/v1/similar/batch", `{"queries":[{"positive":["v1"],"min_sequence":3}]}`).problem(400, "invalid", "queries[0].min_sequence")
}
