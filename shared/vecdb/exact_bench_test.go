package vecdb

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/viterin/vek/vek32"
)

// The exact index beside a plain fp32 scan (vek32.Dot over contiguous rows, no
// filter, no fields) of the same vectors, on vectors in 500 clusters and on
// vectors without any. One core:
//
//	go test -run '^$' -bench Exact -cpu 1 ./shared/vecdb
//
// BENCH_ROWS=1000000 adds the large index. Every query goes to all variants in
// turn, so that what else the machine does meets all of them alike. p50-µs of a
// variant is the middle of its times on the clock; MB is what the index takes
// of memory.
func BenchmarkExact(b *testing.B) {
	for _, n := range benchRows(b) {
		for _, centres := range []int{500, 0} {
			c := newBenchCorpus(b, n, centres)
			b.Run(fmt.Sprintf("n=%d/centres=%d", n, centres), c.run)
			if err := c.index.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func (c *benchCorpus) run(b *testing.B) {
	type variant struct {
		name  string
		query func(q []float32)
		took  []time.Duration
	}
	var variants []*variant
	add := func(name string, query func(q []float32)) {
		variants = append(variants, &variant{name: name, query: query})
	}
	add("vek-fp32", func(q []float32) { plainScan(c.flat, q, 10) })
	for _, f := range benchFilters() {
		add(f.name, func(q []float32) {
			if _, err := c.index.Search(context.Background(), Query{Vector: q, K: 10, Filter: f.filter}); err != nil {
				b.Fatal(err)
			}
		})
	}
	for i := range b.N {
		for _, v := range variants {
			began := time.Now()
			v.query(c.queries[i%len(c.queries)])
			v.took = append(v.took, time.Since(began))
		}
	}
	for _, v := range variants {
		slices.Sort(v.took)
		b.ReportMetric(float64(v.took[len(v.took)/2].Microseconds()), v.name+"-p50-µs")
	}
	b.ReportMetric(c.megabytes, "MB")
	b.ReportMetric(0, "ns/op") // of all variants together: says nothing
}

type benchFilter struct {
	name   string
	filter Filter
}

// benchFilters are filters on the rows of benchCorpus, by what passes.
func benchFilters() []benchFilter {
	var hundred []int64 // tags; a tenth of the rows has one of them
	var excluded []string
	for i := range 1000 {
		if i < 100 {
			hundred = append(hundred, int64(10*i))
		}
		excluded = append(excluded, videoID(i))
	}
	day := func(i int64) time.Time { return time.Unix(i*24*3600, 0) }
	return []benchFilter{
		{"all", Filter{}},
		{"7-of-7-categories", Filter{Categories: []int64{0, 1, 2, 3, 4, 5, 6}}},
		{"3-of-7-categories", Filter{Categories: []int64{0, 2, 4}}},
		{"1-of-7-categories", Filter{Categories: []int64{3}}},
		{"1-of-1000-tags", Filter{Tags: []int64{77}}},
		{"100-of-1000-tags", Filter{Tags: hundred}},
		{"half-the-time", Filter{PublishedAfter: day(500)}},
		{"all-three", Filter{Categories: []int64{0, 2, 4}, Tags: hundred, PublishedAfter: day(500)}},
		{"1000-excluded", Filter{ExcludeIDs: excluded}},
	}
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
			records[i].PublishedAt = time.Unix(rand.Int64N(1000)*24*3600, 0)
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
