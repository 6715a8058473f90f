package vecdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/viterin/vek/vek32"
)

// The exact index beside a plain fp32 scan (vek32.Dot over contiguous rows, no
// filter, no fields) of the same vectors in the same run. One core:
//
//	go test -run '^$' -bench Exact -cpu 1 ./shared/vecdb
//
// BENCH_ROWS=1000000 adds the large index.
func BenchmarkExact(b *testing.B) {
	const dim, k = 256, 10
	for _, n := range benchRows(b) {
		rng := rand.New(rand.NewPCG(9, uint64(n)))
		x := NewExact(dim)
		flat := make([]float32, 0, n*dim)
		for start := 0; start < n; start += 10000 {
			part := clustered(rng, min(10000, n-start), dim, 50, 0.8)
			records := make([]Record, len(part))
			for i, v := range part {
				records[i] = record(start+i, v)
				flat = append(flat, v...)
			}
			if err := x.Upsert(context.Background(), records); err != nil {
				b.Fatal(err)
			}
		}
		queries := make([][]float32, 64)
		for i := range queries { // near a row, as a new video of a known topic is
			v := flat[rng.IntN(n)*dim:][:dim]
			queries[i] = make([]float32, dim)
			for j := range v {
				queries[i][j] = v[j] + float32(rng.NormFloat64())*0.03
			}
		}
		runtime.GC()
		b.Run(fmt.Sprintf("int8/n=%d", n), func(b *testing.B) {
			for i := range b.N {
				if _, err := x.Search(context.Background(), Query{Vector: queries[i%len(queries)], K: k}); err != nil {
					b.Fatal(err)
				}
			}
		})
		filters := map[string]Filter{"category": {Categories: []int64{3}}, "all": {Categories: []int64{0, 1, 2, 3, 4, 5, 6}}}
		for name, f := range filters {
			b.Run(fmt.Sprintf("int8/%s/n=%d", name, n), func(b *testing.B) {
				for i := range b.N {
					if _, err := x.Search(context.Background(), Query{Vector: queries[i%len(queries)], K: k, Filter: f}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("vek-fp32/n=%d", n), func(b *testing.B) {
			for i := range b.N {
				plainScan(flat, queries[i%len(queries)], k)
			}
		})
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func plainScan(flat, q []float32, k int) topK {
	best := topK{k: k}
	for i := 0; i*len(q) < len(flat); i++ {
		c := candidate{cosine: vek32.Dot(flat[i*len(q):(i+1)*len(q)], q), rest: "\x01a"}
		if c.cosine > best.threshold() {
			best.push(c)
		}
	}
	return best
}
