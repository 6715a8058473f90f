package vecdb

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/viterin/vek/vek32"
)

// The exact index beside a plain fp32 scan (vek32.Dot over contiguous rows, no
// filter, no fields) of the same vectors in the same run, on vectors in 500
// clusters and on vectors without any. One core:
//
//	go test -run '^$' -bench Exact -cpu 1 ./shared/vecdb
//
// BENCH_ROWS=1000000 adds the large index. cpu-µs/op is the time on the
// processor, which a busy machine changes less than the time on the clock;
// p50-µs is the middle of the latter; MB is what the index takes of memory.
func BenchmarkExact(b *testing.B) {
	for _, n := range benchRows(b) {
		for _, centres := range []int{500, 0} {
			c := newBenchCorpus(b, n, centres)
			c.run(b, fmt.Sprintf("n=%d/centres=%d", n, centres))
			if err := c.index.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func (c *benchCorpus) run(b *testing.B, name string) {
	for _, f := range []struct {
		name   string
		filter Filter
	}{
		{"exact", Filter{}},
		{"exact/every-row-passes", Filter{Categories: []int64{0, 1, 2, 3, 4, 5, 6}}},
		{"exact/half-passes", Filter{Categories: []int64{0, 2, 4}}},
		{"exact/a-seventh-passes", Filter{Categories: []int64{3}}},
		{"exact/few-pass", Filter{Tags: []int64{77}}},
	} {
		b.Run(name+"/"+f.name, func(b *testing.B) {
			perOp(b, func(i int) {
				q := Query{Vector: c.queries[i%len(c.queries)], K: 10, Filter: f.filter}
				if _, err := c.index.Search(context.Background(), q); err != nil {
					b.Fatal(err)
				}
			})
			b.ReportMetric(c.megabytes, "MB")
		})
	}
	b.Run(name+"/vek-fp32", func(b *testing.B) {
		perOp(b, func(i int) { plainScan(c.flat, c.queries[i%len(c.queries)], 10) })
	})
}

// benchCorpus is the same vectors as an index and as one array.
type benchCorpus struct {
	index     *Exact
	flat      []float32
	queries   [][]float32
	megabytes float64 // that the index takes, of what the process resides in
}

func newBenchCorpus(b *testing.B, n, centres int) *benchCorpus {
	const dim = 256
	c := &benchCorpus{index: NewExact(dim), flat: make([]float32, 0, n*dim)}
	draw := newDrawer(rand.New(rand.NewPCG(9, uint64(n))), dim, centres)
	for range n {
		c.flat = append(c.flat, draw()...)
	}
	before := residentMB(b)
	for start := 0; start < n; start += 1000 {
		records := make([]Record, min(1000, n-start))
		for i := range records {
			records[i] = record(start+i, c.flat[(start+i)*dim:(start+i+1)*dim])
			records[i].TagIDs = []int64{int64((start + i) % 1000)}
		}
		if err := c.index.Upsert(context.Background(), records); err != nil {
			b.Fatal(err)
		}
	}
	c.megabytes = residentMB(b) - before
	for range 64 {
		c.queries = append(c.queries, draw()) // a new video of a known topic
	}
	return c
}

// newDrawer returns a source of vectors of norm 1 around so many centres, with
// noise of 0.8 of their norm; with 0 centres, of any direction.
func newDrawer(rng *rand.Rand, dim, centres int) func() []float32 {
	around := make([][]float32, max(1, centres))
	for i := range around {
		around[i] = make([]float32, dim)
		for j := range around[i] {
			around[i][j] = float32(rng.NormFloat64())
		}
	}
	return func() []float32 {
		v := make([]float32, dim)
		near, noise := around[rng.IntN(len(around))], 0.8
		sum := 0.0
		for j := range v {
			x := rng.NormFloat64() * noise
			if centres > 0 {
				x += float64(near[j])
			}
			v[j] = float32(x)
			sum += x * x
		}
		for j := range v {
			v[j] /= float32(math.Sqrt(sum))
		}
		return v
	}
}

// residentMB is the process's resident memory after a collection.
func residentMB(b *testing.B) float64 {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, resident float64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * float64(os.Getpagesize()) / 1e6
}

// perOp runs f b.N times and reports the processor time of one.
func perOp(b *testing.B, f func(i int)) {
	b.ResetTimer()
	start := processorTime(b)
	took := make([]time.Duration, b.N)
	for i := range b.N {
		began := time.Now()
		f(i)
		took[i] = time.Since(began)
	}
	b.ReportMetric(float64((processorTime(b)-start).Microseconds())/float64(b.N), "cpu-µs/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
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
