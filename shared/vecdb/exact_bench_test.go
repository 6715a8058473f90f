package vecdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/viterin/vek/vek32"
)

// The exact index beside a plain fp32 scan (vek32.Dot over contiguous rows, no
// filter, no fields) of the same vectors in the same run. One core:
//
//	go test -run '^$' -bench Exact -cpu 1 ./shared/vecdb
//
// BENCH_ROWS=1000000 adds the large index. cpu-µs/op is the time on the
// processor, which a busy machine changes less than the time on the clock.
func BenchmarkExact(b *testing.B) {
	for _, n := range benchRows(b) {
		c := newBenchCorpus(b, n)
		for _, f := range []struct {
			name   string
			filter Filter
		}{
			{"int8", Filter{}},
			{"int8/every-row-passes", Filter{Categories: []int64{0, 1, 2, 3, 4, 5, 6}}},
			{"int8/a-seventh-passes", Filter{Categories: []int64{3}}},
			{"int8/few-pass", Filter{Tags: []int64{77}}},
		} {
			b.Run(fmt.Sprintf("%s/n=%d", f.name, n), func(b *testing.B) {
				perOp(b, func(i int) {
					q := Query{Vector: c.queries[i%len(c.queries)], K: 10, Filter: f.filter}
					if _, err := c.index.Search(context.Background(), q); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
		b.Run(fmt.Sprintf("vek-fp32/n=%d", n), func(b *testing.B) {
			perOp(b, func(i int) { plainScan(c.flat, c.queries[i%len(c.queries)], 10) })
		})
		if err := c.index.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// benchCorpus is the same vectors as an index and as one array.
type benchCorpus struct {
	index   *Exact
	flat    []float32
	queries [][]float32
}

func newBenchCorpus(b *testing.B, n int) *benchCorpus {
	const dim = 256
	rng := rand.New(rand.NewPCG(9, uint64(n)))
	c := &benchCorpus{index: NewExact(dim), flat: make([]float32, 0, n*dim)}
	for start := 0; start < n; start += 10000 {
		part := clustered(rng, min(10000, n-start), dim, 50, 0.8)
		records := make([]Record, len(part))
		for i, v := range part {
			records[i] = record(start+i, v)
			records[i].TagIDs = []int64{int64(i % 1000)}
			c.flat = append(c.flat, v...)
		}
		if err := c.index.Upsert(context.Background(), records); err != nil {
			b.Fatal(err)
		}
	}
	for range 64 { // near a row, as a new video of a known topic is
		v := slices.Clone(c.flat[rng.IntN(n)*dim:][:dim])
		for j := range v {
			v[j] += float32(rng.NormFloat64()) * 0.03
		}
		c.queries = append(c.queries, v)
	}
	runtime.GC()
	return c
}

// perOp runs f b.N times and reports the processor time of one.
func perOp(b *testing.B, f func(i int)) {
	b.ResetTimer()
	start := processorTime(b)
	for i := range b.N {
		f(i)
	}
	b.ReportMetric(float64((processorTime(b)-start).Microseconds())/float64(b.N), "cpu-µs/op")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
