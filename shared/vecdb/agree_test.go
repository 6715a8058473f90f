package vecdb

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// topTenShared is how much of the exact index's top ten the other one finds
// as well, over all queries.
func topTenShared(t testing.TB, exact, other Index, queries [][]float32) float64 {
	t.Helper()
	same, all := 0, 0
	for _, v := range queries {
		q := Query{Vector: v, K: 10}
		want, err := exact.Search(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		got, err := other.Search(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		ids := make(map[string]bool, len(want))
		for _, h := range want {
			ids[h.Record.ID] = true
		}
		for _, h := range got {
			if ids[h.Record.ID] {
				same++
			}
		}
		all += len(want)
	}
	return float64(same) / float64(all)
}

// Milvus gives the exact index's answers: right after the writes, and from
// its HNSW index once that is built and loaded.
func TestMilvusAgreesWithExact(t *testing.T) {
	const n, queries, gate = 5000, 300, 0.98
	rng := rand.New(rand.NewPCG(11, 11))
	vectors := clustered(rng, n+queries, 256, 500, 0.8)
	exact := NewExact(256)
	defer exact.Close()
	fill(t, exact, vectors[:n])
	m := openMilvus(t, 256)
	fill(t, m, vectors[:n])
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := m.Barrier(ctx); err != nil {
		t.Fatal(err)
	}
	if shared := topTenShared(t, exact, m, vectors[n:]); shared < gate {
		t.Errorf("%.4f of the top ten shared before the index is built, expected %v", shared, gate)
	}
	if err := m.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	waitIndexLoaded(ctx, t, m)
	if shared := topTenShared(t, exact, m, vectors[n:]); shared < gate {
		t.Errorf("%.4f of the top ten shared with the index, expected %v", shared, gate)
	}
}

// waitIndexLoaded waits until searches use the built index.
func waitIndexLoaded(ctx context.Context, t testing.TB, m *Milvus) {
	t.Helper()
	for {
		segments, err := connected(t, m).GetQuerySegmentInfo(ctx, m.collection)
		if err != nil {
			t.Fatal(err)
		}
		loaded := len(segments) > 0
		for _, s := range segments {
			loaded = loaded && s.IndexID != 0
		}
		if loaded {
			return
		}
		if err := pause(ctx); err != nil {
			t.Fatalf("the index is not loaded: %v", err)
		}
	}
}
