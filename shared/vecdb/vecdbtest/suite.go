// Package vecdbtest is the conformance suite of vecdb.Index: what every
// implementation must do, run against each of them.
package vecdbtest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"videosim/shared/errs"
	"videosim/shared/vecdb"
)

// Dim is the size of the suite's embeddings.
const Dim = 16

// Run runs the suite. open returns a new, empty index of Dim numbers that is
// ready to answer; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) vecdb.Index) {
	tests := []struct {
		name string
		run  func(s *suite)
	}{
		{"Empty", testEmpty},
		{"UpsertReplaces", testUpsertReplaces},
		{"FieldsComeBack", testFieldsComeBack},
		{"Delete", testDelete},
		{"DeleteThenUpsert", testDeleteThenUpsert},
		{"Fetch", testFetch},
		{"Refusals", testRefusals},
		{"RefusalChangesNothing", testRefusalChangesNothing},
		{"HostileIDs", testHostileIDs},
		{"Order", testOrder},
		{"Ties", testTies},
		{"WithEmbedding", testWithEmbedding},
		{"LargeK", testLargeK},
		{"FilterCategories", testFilterCategories},
		{"FilterTags", testFilterTags},
		{"FilterTime", testFilterTime},
		{"FilterExclude", testFilterExclude},
		{"FilterCombined", testFilterCombined},
		{"FilterFewPass", testFilterFewPass},
		{"LongTitle", testLongTitle},
		{"CancelledContext", testCancelledContext},
		{"ReadersBesideWriter", testReadersBesideWriter},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			index := open(t)
			t.Cleanup(func() {
				if err := index.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test.run(&suite{T: t, ctx: ctx, index: index, rng: rand.New(rand.NewPCG(1, 2))})
		})
	}
}

// suite is one test with its index.
type suite struct {
	*testing.T
	ctx   context.Context
	index vecdb.Index
	rng   *rand.Rand
}

func (s *suite) upsert(records ...vecdb.Record) {
	s.Helper()
	if err := s.index.Upsert(s.ctx, records); err != nil {
		s.Fatalf("upsert: %v", err)
	}
}

// settle is the barrier: what was written before is visible after.
func (s *suite) settle() {
	s.Helper()
	if err := s.index.Barrier(s.ctx); err != nil {
		s.Fatalf("barrier: %v", err)
	}
}

// store writes the records and waits until they are visible.
func (s *suite) store(records ...vecdb.Record) {
	s.Helper()
	s.upsert(records...)
	s.settle()
}

func (s *suite) remove(ids ...string) {
	s.Helper()
	if err := s.index.Delete(s.ctx, ids); err != nil {
		s.Fatalf("delete: %v", err)
	}
}

func (s *suite) search(q vecdb.Query) []vecdb.Hit {
	s.Helper()
	hits, err := s.index.Search(s.ctx, q)
	if err != nil {
		s.Fatalf("search: %v", err)
	}
	return hits
}

func (s *suite) fetch(ids ...string) []vecdb.Record {
	s.Helper()
	records, err := s.index.Fetch(s.ctx, ids)
	if err != nil {
		s.Fatalf("fetch: %v", err)
	}
	return records
}

func (s *suite) expectCount(want int64) {
	s.Helper()
	n, err := s.index.Count(s.ctx)
	if err != nil {
		s.Fatalf("count: %v", err)
	}
	if n != want {
		s.Errorf("count is %d, expected %d", n, want)
	}
}

// expectIDs compares the ids of hits, in order.
func (s *suite) expectIDs(what string, hits []vecdb.Hit, want ...string) {
	s.Helper()
	got := make([]string, len(hits))
	for i := range hits {
		got[i] = hits[i].Record.ID
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.Errorf("%s: found %v, expected %v", what, got, want)
	}
}

func (s *suite) expectKind(what string, err error, want errs.Kind) {
	s.Helper()
	if err == nil {
		s.Errorf("%s: no error, expected one of kind %s", what, want)
		return
	}
	if kind := errs.KindOf(err); kind != want {
		s.Errorf("%s: error of kind %s, expected %s: %v", what, kind, want, err)
	}
}

// at is the embedding at an angle in the plane of the first two axes, so that
// the cosine of two of them is the cosine of the difference of their angles.
func at(degrees float64) []float32 {
	v := make([]float32, Dim)
	v[0] = float32(math.Cos(degrees * math.Pi / 180))
	v[1] = float32(math.Sin(degrees * math.Pi / 180))
	return v
}

// random is an embedding in no particular direction.
func (s *suite) random() []float32 {
	v, sum := make([]float32, Dim), 0.0
	for i := range v {
		v[i] = float32(s.rng.NormFloat64())
		sum += float64(v[i]) * float64(v[i])
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(sum))
	}
	return v
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// sameRecord compares everything but the embedding's last bits.
func sameRecord(got, want *vecdb.Record) error {
	a, b := *got, *want
	if len(a.Embedding) != len(b.Embedding) {
		return fmt.Errorf("embedding of %d numbers, expected %d", len(a.Embedding), len(b.Embedding))
	}
	for i := range a.Embedding {
		if a.Embedding[i] != b.Embedding[i] {
			return fmt.Errorf("embedding[%d] is %v, expected %v", i, a.Embedding[i], b.Embedding[i])
		}
	}
	if !a.PublishedAt.Equal(b.PublishedAt) {
		return fmt.Errorf("published at %v, expected %v", a.PublishedAt, b.PublishedAt)
	}
	a.Embedding, b.Embedding, a.PublishedAt, b.PublishedAt = nil, nil, time.Time{}, time.Time{}
	if got, want := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b); got != want {
		return fmt.Errorf("record %s, expected %s", got, want)
	}
	return nil
}
