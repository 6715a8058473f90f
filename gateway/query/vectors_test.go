package query

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/vecdb"
)

// counted is an index that counts its calls.
type counted struct {
	vecdb.Index
	searches, fetches int
}

func (x *counted) Search(ctx context.Context, q vecdb.Query) ([]vecdb.Hit, error) {
	x.searches++
	return x.Index.Search(ctx, q)
}

func (x *counted) Fetch(ctx context.Context, ids []string) ([]vecdb.Record, error) {
	x.fetches++
	return x.Index.Fetch(ctx, ids)
}

const vectorsDim = 8

func randomRecord(rng *rand.Rand, id string, sequence uint64) vecdb.Record {
	v := make([]float32, vectorsDim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	d, err := Direction([][]float32{v}, nil)
	if err != nil {
		panic(err)
	}
	n := int64(sequence)
	return vecdb.Record{ID: id, Embedding: d, CategoryID: n % 3, TagIDs: []int64{n % 5}, PublishedAt: time.Unix(n*3600, 0), Sequence: sequence}
}

// twoEngines answer from one index, one with and one without a cache.
func twoEngines(t *testing.T, n int) (cached, plain *Engine, index *counted) {
	t.Helper()
	index = &counted{Index: vecdb.NewExact(vectorsDim)}
	t.Cleanup(func() { _ = index.Close() })
	rng := rand.New(rand.NewPCG(1, 1))
	var records []vecdb.Record
	for i := range n {
		records = append(records, randomRecord(rng, fmt.Sprintf("v%d", i), uint64(i+1)))
	}
	if err := index.Upsert(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	vectors, err := NewVectors(100)
	if err != nil {
		t.Fatal(err)
	}
	model := Model{Fingerprint: "m", Dim: vectorsDim, Calibration: eval.Calibration{Cosines: []float64{-1, 1}, Scores: []float64{0, 1}}}
	plain = &Engine{Index: index, Model: model, Pages: NewPages("k")}
	return &Engine{Index: index, Model: model, Pages: NewPages("k"), Vectors: vectors}, plain, index
}

func ids(results []Result) []string {
	out := make([]string, len(results))
	for i, r := range results {
		out[i] = r.ID
	}
	return out
}

func about(id string) Similar { return Similar{Positive: []Input{{ID: id}}, K: 5} }

// The second query by an id is one search, and says what two calls say.
func TestKnownVectorIsOneSearch(t *testing.T) {
	cached, plain, index := twoEngines(t, 50)
	for name, change := range map[string]func(*Similar){
		"plain":            func(*Similar) {},
		"few":              func(q *Similar) { q.K = 1 },
		"all":              func(q *Similar) { q.K = 100 },
		"min score":        func(q *Similar) { q.MinScore = 0.6 },
		"exclude":          func(q *Similar) { q.Filter.ExcludeIDs = []string{"v1", "v2"} },
		"filter with it":   func(q *Similar) { q.Filter.Categories = []int64{1} },
		"tags with it":     func(q *Similar) { q.Filter.Tags = []int64{1, 3} },
		"time with it":     func(q *Similar) { q.Filter.PublishedBefore = time.Unix(20*3600, 0) },
		"excluding itself": func(q *Similar) { q.Filter.ExcludeIDs = []string{"v0", "v3"} },
	} {
		q := about("v0") // category 1, tag 1, published in hour 1
		change(&q)
		if _, err := cached.Similar(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		index.searches, index.fetches = 0, 0
		got, err := cached.Similar(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 1, false: 0}[name == "excluding itself"]; index.searches != 1 || index.fetches != want {
			t.Errorf("%s: %d searches and %d fetches", name, index.searches, index.fetches)
		}
		want, err := plain.Similar(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ids(got.Results), ids(want.Results)) || (got.NextToken == "") != (want.NextToken == "") {
			t.Errorf("%s: %v, want %v", name, ids(got.Results), ids(want.Results))
		}
	}
	for name, filter := range map[string]vecdb.Filter{ // those that the video itself does not pass
		"category": {Categories: []int64{0, 2}}, "tag": {Tags: []int64{2}}, "later": {PublishedAfter: time.Unix(7200, 0)}, "earlier": {PublishedBefore: time.Unix(3600, 0)},
	} {
		q := about("v0")
		q.Filter = filter
		index.fetches = 0
		got, err := cached.Similar(t.Context(), q)
		want, _ := plain.Similar(t.Context(), q)
		if err != nil || index.fetches != 2 || !slices.Equal(ids(got.Results), ids(want.Results)) {
			t.Errorf("filter on %s: %d fetches, %v, %v", name, index.fetches, ids(got.Results), err)
		}
	}
}

// What is remembered is never shown once the index has moved on.
func TestKnownVectorIsNeverStale(t *testing.T) {
	cached, plain, index := twoEngines(t, 50)
	rng := rand.New(rand.NewPCG(2, 2))
	if _, err := cached.Similar(t.Context(), about("v0")); err != nil {
		t.Fatal(err)
	}
	for sequence := uint64(100); sequence < 120; sequence++ {
		if err := index.Upsert(t.Context(), []vecdb.Record{randomRecord(rng, "v0", sequence)}); err != nil {
			t.Fatal(err)
		}
		got, err := cached.Similar(t.Context(), about("v0"))
		want, _ := plain.Similar(t.Context(), about("v0"))
		if err != nil || !slices.Equal(ids(got.Results), ids(want.Results)) {
			t.Fatalf("after edit %d: %v, want %v (%v)", sequence, ids(got.Results), ids(want.Results), err)
		}
	}
	if err := index.Delete(t.Context(), []string{"v0"}); err != nil {
		t.Fatal(err)
	}
	if _, err := cached.Similar(t.Context(), about("v0")); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a deleted video: %v, want not found", err)
	}
}
