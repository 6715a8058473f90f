package vecdb

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// Milvus at the challenge's number of videos: rows a second of a bulk load,
// and searches, before and after the HNSW index is in use.
func BenchmarkMilvus(b *testing.B) {
	const n = 31514
	rng := rand.New(rand.NewPCG(9, 9))
	vectors := clustered(rng, n+64, 256, 500, 0.8)
	m := openMilvus(b, 256)
	start := time.Now()
	fill(b, m, vectors[:n])
	loaded := time.Since(start)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := m.Barrier(ctx); err != nil {
		b.Fatal(err)
	}
	search := func(b *testing.B) {
		for i := range b.N {
			if _, err := m.Search(ctx, Query{Vector: vectors[n+i%64], K: 10}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("search/unflushed", func(b *testing.B) {
		search(b)
		b.ReportMetric(n/loaded.Seconds(), "upserted-rows/s")
	})
	if err := m.Settle(ctx); err != nil {
		b.Fatal(err)
	}
	waitIndexLoaded(ctx, b, m)
	b.Run("search/hnsw", search)
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
