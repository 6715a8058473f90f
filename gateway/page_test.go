package gateway

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"videosim/gateway/query"
	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

// walk asks for page after page and returns what each shows. between is called
// before every page but the first, with its number from 1.
func (r *rig) walk(query map[string]any, between func(page int)) (pages [][]string, answers []reply) {
	r.t.Helper()
	query = maps.Clone(query)
	for {
		got := r.call("POST", "/v1/similar", asJSON(r.t, query)).want(200)
		pages, answers = append(pages, got.ids()), append(answers, got)
		token, more := got.value["next_page_token"].(string)
		if !more {
			return pages, answers
		}
		if between != nil {
			between(len(pages))
		}
		query["page_token"] = token
	}
}

// The pages of a query are one answer, cut: with diversity, too, which is
// applied before.
func TestPagesWalkOneList(t *testing.T) {
	r := newRig(t)
	r.fill(60)
	for _, diversity := range []float64{0, 0.4, 1} {
		query := map[string]any{"positive": []any{"v0"}, "k": 59, "diversity": diversity}
		whole, _ := r.walk(query, nil)
		if want := mostRelevant(60, vectorOf("title 0"), diversity); !slices.Equal(whole[0], want) {
			t.Errorf("diversity %v: %v\nwant %v", diversity, whole[0], want)
		}
		query["k"] = 10
		pages, _ := r.walk(query, nil)
		if len(pages) != 6 || !slices.Equal(slices.Concat(pages...), whole[0]) {
			t.Errorf("diversity %v: pages %v\nwant %v", diversity, pages, whole[0])
		}
	}
}

// mostRelevant orders v1…v(n-1) by maximal marginal relevance, by its
// definition: the next is the one for which (1-d)·(cosine with the query) −
// d·(highest cosine with those before) is largest.
func mostRelevant(n int, query []float32, d float64) (order []string) {
	left := nearest(n, query, func(i int) bool { return i > 0 })
	vector := func(id string) []float32 { return vectorOf("title " + id[1:]) }
	for len(left) > 0 {
		best, highest := 0, math.Inf(-1)
		for i, id := range left {
			likest := math.Inf(-1)
			for _, before := range order {
				likest = max(likest, eval.Cosine(vector(id), vector(before)))
			}
			relevance := eval.Cosine(query, vector(id))
			if len(order) > 0 {
				relevance = (1-d)*relevance - d*likest
			}
			if relevance > highest {
				best, highest = i, relevance
			}
		}
		order = append(order, left[best])
		left = slices.Delete(left, best, best+1)
	}
	return order
}

// Whatever becomes of the videos asked about, and of the embedder, between two
// pages: the walk goes on along the same direction, and every page has the
// same envelope.
func TestPagesAreOfOneQuestion(t *testing.T) {
	r := newRig(t)
	r.fill(60)
	query := map[string]any{"positive": []any{"v0", "nobody", map[string]any{"video": map[string]any{"title": "t", "asr_text": strings.Repeat("x", 10)}}}, "negative": []any{"v1"}, "on_missing": "skip", "k": 10}
	want, _ := r.walk(query, nil)
	pages, answers := r.walk(query, func(page int) {
		if page > 1 {
			return
		}
		for _, id := range []string{"v0", "v1"} {
			if err := r.index.Upsert(t.Context(), []vecdb.Record{{ID: id, Embedding: vectorOf("turned"), Sequence: 61}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.index.Delete(t.Context(), []string{"v0"}); err != nil {
			t.Fatal(err)
		}
		handler := busEmbedHandler(func(context.Context, *event.EmbedRequest) *event.EmbedReply {
			return &event.EmbedReply{Error: "away", ErrorKind: "unavailable"}
		})
		r.lane.Store(&handler)
		r.progress.set(100)
	})
	if len(pages) != 6 || fmt.Sprint(pages) != fmt.Sprint(want) {
		t.Errorf("pages %v\nwant %v", pages, want)
	}
	for i, a := range answers {
		if fmt.Sprint(a.value["missing_ids"]) != "[nobody]" || a.value["indexed_sequence"].(float64) != 60 || a.value["model"] != testModel {
			t.Errorf("page %d: envelope of %s", i, a.body)
		}
		if fmt.Sprint(a.value["inputs"]) != fmt.Sprint(answers[0].value["inputs"]) || len(a.value["inputs"].([]any)) != 1 {
			t.Errorf("page %d: inputs %v", i, a.value["inputs"])
		}
	}
	// A list does not reflect what came after it, so it does not pass for fresh.
	token := answers[3].value["next_page_token"]
	query["page_token"], query["min_sequence"] = token, 60
	r.call("POST", "/v1/similar", asJSON(t, query)).want(200)
	query["min_sequence"] = 61
	r.call("POST", "/v1/similar", asJSON(t, query)).problem(400, "invalid", "page_token")
	delete(query, "min_sequence")
	r.call("POST", "/v1/similar/batch", asJSON(t, map[string]any{"queries": []any{query}, "min_sequence": 61})).want(200).item(0, "problem", "page_token")
}

// A frozen place keeps its cosine and its version; the other fields are those
// of now, and what the filter would not let through now is left out.
func TestFrozenPlaces(t *testing.T) {
	r := newRig(t)
	r.fill(60)
	query := map[string]any{"positive": []any{"v0"}, "filter": map[string]any{"category_ids": []int{1, 2}}, "k": 5}
	_, before := r.walk(query, nil)
	row := func(a reply, i int) map[string]any { return a.value["results"].([]any)[i].(map[string]any) }
	first, second := row(before[2], 0), row(before[2], 1)
	_, after := r.walk(query, func(page int) {
		if page != 2 {
			return
		}
		err := r.index.Upsert(t.Context(), []vecdb.Record{
			{ID: first["id"].(string), Embedding: vectorOf("elsewhere"), Title: "edited", CategoryID: 2, Sequence: 99},
			{ID: second["id"].(string), Embedding: vectorOf("title"), Title: "moved to another category", CategoryID: 0, Sequence: 98},
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	got := row(after[2], 0)
	if got["id"] != first["id"] || got["cosine"] != first["cosine"] || got["sequence"] != first["sequence"] || got["title"] != "edited" {
		t.Errorf("an edited video shows as %v, was %v", got, first)
	}
	if next := row(after[2], 1); next["id"] != row(before[2], 2)["id"] || len(after[2].ids()) != 4 {
		t.Errorf("behind the gap %v, want %v", next, row(before[2], 2))
	}
}

// While writers edit, delete and publish without a pause, no walk shows a video
// twice, breaks the order, or loses a video that was there all along.
func TestPagesUnderWrites(t *testing.T) {
	r := newRig(t)
	const still, moving = 60, 40 // v0…v59 keep their vectors; with the others at most 140, a pool of diversity at k=15
	r.fill(still + moving)
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		rng := rand.New(rand.NewPCG(7, 7))
		for n := 0; ctx.Err() == nil; n++ {
			id, sequence := fmt.Sprintf("v%d", still+rng.IntN(2*moving)), uint64(1000+n)
			var err error
			if rng.IntN(3) == 0 {
				err = r.index.Delete(ctx, []string{id})
			} else {
				calm := rng.IntN(still)
				err = r.index.Upsert(ctx, []vecdb.Record{
					{ID: id, Embedding: vectorOf(fmt.Sprint("version ", n)), Sequence: sequence},
					{ID: fmt.Sprintf("v%d", calm), Embedding: vectorOf(fmt.Sprintf("title %d", calm)), Title: "again", Sequence: sequence},
				})
			}
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	defer writer.Wait()
	defer stop()
	for i := range 30 {
		diversity := float64(i%2) * 0.3
		_, answers := r.walk(map[string]any{"positive": []any{"v0"}, "k": 15, "diversity": diversity}, nil)
		seen, last := map[string]bool{}, 2.0
		for _, a := range answers {
			for _, result := range a.value["results"].([]any) {
				row := result.(map[string]any)
				id, cosine := row["id"].(string), row["cosine"].(float64)
				if seen[id] {
					t.Fatalf("walk %d shows %s twice", i, id)
				}
				if diversity == 0 && cosine > last {
					t.Fatalf("walk %d: %s at %v behind %v", i, id, cosine, last)
				}
				seen[id], last = true, cosine
			}
		}
		for v := 1; v < still; v++ {
			if !seen[fmt.Sprintf("v%d", v)] {
				t.Fatalf("walk %d lost v%d", i, v)
			}
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
	// Another gateway, or this one after a restart, takes what its key has signed.
	want := r.call("GET", "/v1/videos/v0/similar?k=10&page_token="+token, "").want(200).ids()
	for key, status := range map[string]int{"for tests": 200, "another": 400, "": 400} {
		other := newRig(t, func(c *Config) { c.PageTokenKey = key })
		other.fill(60)
		got := other.call("GET", "/v1/videos/v0/similar?k=10&page_token="+token, "")
		if status == 400 {
			got.problem(400, "invalid", "page_token")
		} else if ids := got.want(200).ids(); !slices.Equal(ids, want) {
			t.Errorf("another gateway's page: %v, want %v", ids, want)
		}
		other.engine.Model.Fingerprint = "another model"
		other.call("GET", "/v1/videos/v0/similar?k=10&page_token="+token, "").problem(400, "invalid", "page_token")
	}
}

// The longest token of a query by id still fits where a GET carries it.
func TestLongestTokenFitsAHeader(t *testing.T) {
	r := newRig(t)
	var records []vecdb.Record
	for i := range query.MaxK + 600 {
		records = append(records, vecdb.Record{ID: fmt.Sprintf("%064d", i), Embedding: vectorOf(fmt.Sprint(i)), Sequence: 1 << 60})
	}
	if err := r.index.Upsert(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	path := "/v1/videos/" + records[0].ID + "/similar?k="
	for _, k := range []int{1, query.MaxK} { // one leaves most to the frozen rest, the other to what was shown
		token := r.call("GET", fmt.Sprint(path, k), "").want(200).value["next_page_token"].(string)
		second := r.call("GET", fmt.Sprint(path, k, "&page_token=", token), "").want(200)
		if token, more := second.value["next_page_token"].(string); more {
			if len(token) > maxHeaderBytes*9/10 {
				t.Errorf("k=%d: a token of %d bytes", k, len(token))
			}
			r.call("GET", fmt.Sprint(path, k, "&page_token=", token), "").want(200)
		}
	}
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
	if fmt.Sprint(got.value["missing_ids"]) != "[gone]" {
		t.Errorf("missing: %v", got.value["missing_ids"])
	}
	got.item(3, "problem", "queries[3].k")
	r.call("POST", "/v1/similar/batch", `{"queries":[]}`).problem(400, "invalid", "queries")
	r.call("POST", "/v1/similar/batch", `{"queries":[{"positive":["v1"],"min_sequence":3}]}`).problem(400, "invalid", "queries[0].min_sequence")
}

// item fails the test unless an item of a batch has this form, and its problem
// this field.
func (a reply) item(i int, form, field string) {
	a.t.Helper()
	item := a.value["answers"].([]any)[i].(map[string]any)
	found, ok := item[form].(map[string]any)
	if got, _ := found["field"].(string); !ok || len(item) != 1 || !strings.HasSuffix(got, field) {
		a.t.Errorf("answer %d: %v, want a %s about %q", i, item, form, field)
	}
}
