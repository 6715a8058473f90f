package vecdb

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// Milvus at the challenge's number of videos: rows a second of a bulk load,
// and searches, before and after the HNSW index is in use, those that find
// fewer than they ask for beside those that do not.
func BenchmarkMilvus(b *testing.B) {
	const n = 31514
	rng := rand.New(rand.NewPCG(9, 9))
	vectors := clustered(rng, n+64, 256, 500, 0.8)
	m := openMilvus(b, 256)
	const rare = 1 // a tag of 7 more
	tagged := make([]Record, 7)
	for i := range tagged {
		tagged[i] = record(n+i, vectors[n+i])
		tagged[i].TagIDs = []int64{rare}
	}
	if err := m.Upsert(context.Background(), tagged); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	fill(b, m, vectors[:n])
	loaded := time.Since(start)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := m.Barrier(ctx); err != nil {
		b.Fatal(err)
	}
	searchWith := func(b *testing.B, k int, f Filter) {
		for i := range b.N {
			if _, err := m.Search(ctx, Query{Vector: vectors[n+i%64], K: k, Filter: f}); err != nil {
				b.Fatal(err)
			}
		}
	}
	search := func(b *testing.B) { searchWith(b, 10, Filter{}) }
	b.Run("search/unflushed", func(b *testing.B) {
		search(b)
		b.ReportMetric(n/loaded.Seconds(), "upserted-rows/s")
	})
	if err := m.Settle(ctx); err != nil {
		b.Fatal(err)
	}
	waitIndexLoaded(ctx, b, m)
	b.Run("search/hnsw", search)
	b.Run("search/rare-tag", func(b *testing.B) { searchWith(b, len(tagged), Filter{Tags: []int64{rare}}) })
	b.Run("search/rare-tag-short", func(b *testing.B) { searchWith(b, 10, Filter{Tags: []int64{rare}}) }) // asks twice
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = videoID(rng.IntN(n))
	}
	b.Run("fetch-100", func(b *testing.B) {
		for range b.N {
			if _, err := m.Fetch(ctx, ids); err != nil {
				b.Fatal(err)
			}
		}
	})
}
