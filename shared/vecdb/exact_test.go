package vecdb

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// clustered makes n vectors of norm 1 around centres, as embeddings of real
// catalogues lie.
func clustered(rng *rand.Rand, n, dim, centres int, noise float64) [][]float32 {
	middle := make([][]float64, centres)
	for i := range middle {
		middle[i] = make([]float64, dim)
		for j := range middle[i] {
			middle[i][j] = rng.NormFloat64()
		}
	}
	out := make([][]float32, n)
	for i := range out {
		c := middle[rng.IntN(centres)]
		v, sum := make([]float64, dim), 0.0
		for j := range v {
			v[j] = c[j] + noise*rng.NormFloat64()
			sum += v[j] * v[j]
		}
		out[i] = make([]float32, dim)
		for j := range v {
			out[i][j] = float32(v[j] / math.Sqrt(sum))
		}
	}
	return out
}

func videoID(i int) string { return fmt.Sprintf("v%07d", i) }

func record(i int, v []float32) Record {
	return Record{ID: videoID(i), Embedding: v, CategoryID: int64(i % 7), Sequence: uint64(i + 1)}
}

func fill(tb testing.TB, x Index, vectors [][]float32) {
	tb.Helper()
	batch := make([]Record, 0, 1000)
	for i, v := range vectors {
		batch = append(batch, record(i, v))
		if len(batch) == cap(batch) || i == len(vectors)-1 {
			if err := x.Upsert(context.Background(), batch); err != nil {
				tb.Fatal(err)
			}
			batch = batch[:0]
		}
	}
}

// brute is the answer by definition.
func brute(vectors [][]float32, q Query, keep func(i int) bool) []Hit {
	var all []Hit
	for i, v := range vectors {
		if keep == nil || keep(i) {
			all = append(all, Hit{Record: record(i, nil), Cosine: product(v, q.Vector)})
		}
	}
	slices.SortFunc(all, func(a, b Hit) int {
		switch {
		case a.Cosine > b.Cosine, a.Cosine == b.Cosine && a.Record.ID < b.Record.ID:
			return -1
		}
		return 1
	})
	return all[:min(len(all), q.K)]
}

func sameHits(t *testing.T, what string, got, want []Hit) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: found %d hits, expected %d", what, len(got), len(want))
	}
	for i := range want {
		if got[i].Record.ID != want[i].Record.ID || got[i].Cosine != want[i].Cosine {
			t.Fatalf("%s: hit %d is %s (%v), expected %s (%v)", what, i,
				got[i].Record.ID, got[i].Cosine, want[i].Record.ID, want[i].Cosine)
		}
	}
}

// The answer equals brute force bit for bit, at dimensions that fill the
// kernel's step and that do not, and at every size of k.
func TestExactEqualsBruteForce(t *testing.T) {
	for _, dim := range []int{1, 3, 16, 100, 256, 1536} {
		rng := rand.New(rand.NewPCG(1, uint64(dim)))
		const n = 1200
		vectors := clustered(rng, n, dim, 20, 0.8)
		vectors[7] = make([]float32, dim)     // zero
		vectors[8] = slices.Clone(vectors[9]) // a tie
		vectors[10][0] = math.SmallestNonzeroFloat32
		x := NewExact(dim)
		fill(t, x, vectors)
		for _, k := range []int{1, 10, 500, n, MaxK} {
			for i := range 10 {
				q := Query{Vector: vectors[rng.IntN(n)], K: k}
				if i%2 == 1 {
					q.Vector = clustered(rng, 1, dim, 1, 1)[0]
				}
				if i == 4 {
					q.Vector = make([]float32, dim)
				}
				if i == 6 {
					q.Vector = scaled(q.Vector, 1e-30)
				}
				if i == 8 {
					q.Vector = scaled(q.Vector, 1000)
				}
				got, err := x.Search(context.Background(), q)
				if err != nil {
					t.Fatal(err)
				}
				sameHits(t, fmt.Sprintf("dim %d, k %d, query %d", dim, k, i), got, brute(vectors, q, nil))
			}
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func scaled(v []float32, by float32) []float32 {
	out := slices.Clone(v)
	for i := range out {
		out[i] *= by
	}
	return out
}

// No row's bound lies below its true product: the reason why nothing is missed.
func TestQuantisationBoundHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, dim := range []int{8, 256, 1000} {
		stride := NewExact(dim).stride
		row := make([]byte, stride/2)
		for trial := range 4000 {
			v, y := make([]float32, dim), make([]float32, dim)
			spread := math.Pow(10, float64(trial%5-2))
			for i := range v {
				v[i] = float32(rng.NormFloat64() * math.Pow(spread, rng.Float64()))
				y[i] = v[i]
				if trial%2 == 0 {
					y[i] = float32(rng.NormFloat64())
				}
			}
			scale, slack, reach := quantise(row, v)
			q := quantiseQuery(y, stride)
			sum := 2*dotPortable(row, q.numbers) - q.offset
			upper := float32(sum)*(scale*q.scale) + slack*q.norm + reach*q.residual
			if upper < product(v, y) {
				t.Fatalf("dim %d, trial %d: bound %v below the product %v", dim, trial, upper, product(v, y))
			}
			if loose := float64(upper-product(v, y)) / float64(q.norm) / norm(v); dim == 256 && spread == 1 && loose > 0.45 {
				t.Fatalf("trial %d: the bound is %v above the product, expected at most 0.45", trial, loose)
			}
		}
	}
}

// The assembly does what the plain Go kernel does.
func TestScanKernelsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, stride := range []int{64, 128, 192, 256, 1536} {
		const groups = 5
		rows := make([]byte, groups*groupRows*stride/2)
		for i := range rows {
			rows[i] = byte(rng.IntN(256))
		}
		query := make([]int8, stride)
		for i := range query {
			query[i] = int8(rng.IntN(2*queryLevels+1) - queryLevels)
		}
		for i := range 64 { // the largest sums
			rows[i%32], query[i] = 255, queryLevels
		}
		scale, slack := make([]float32, groups*groupRows), make([]float32, groups*groupRows)
		for i := range scale {
			scale[i], slack[i] = rng.Float32(), rng.Float32()
		}
		slack[3] = float32(math.Inf(-1))
		slack[4] = float32(math.NaN())
		index := make([]int32, groups*groupRows+aheadRows)
		for i := range index {
			index[i] = int32(rng.IntN(groups * groupRows))
		}
		index[0] = 0
		var upper [2][groups * groupRows]float32
		var masks [2][groups]uint8
		for i, kernel := range []func(*scanArgs){scanPortable, scanKernel()} {
			kernel(&scanArgs{
				rows: &rows[0], index: &index[0], scale: &scale[0], slack: &slack[0], query: &query[0],
				upper: &upper[i][0], masks: &masks[i][0], rowBytes: stride / 2, groups: groups,
				offset: 12345, queryScale: 1e-4, queryNorm: 1.5, extra: 0.25, threshold: 0.5,
			})
		}
		if masks[0] != masks[1] {
			t.Errorf("stride %d: masks %v, expected %v", stride, masks[1], masks[0])
		}
		for i := range upper[0] {
			a, b := float64(upper[0][i]), float64(upper[1][i])
			if math.Abs(a-b) > 1e-6*math.Max(1, math.Abs(a)) && !(math.IsNaN(a) && math.IsNaN(b)) {
				t.Errorf("stride %d, row %d: %v, expected %v", stride, i, b, a)
			}
		}
	}
}

// The second kernel's products are right to the rounding that is allowed for.
func TestDotKernelsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, dim := range []int{8, 32, 250, 256, 1536} {
		const n = 9
		rows, query := make([]float32, n*dim), make([]float32, dim)
		for i := range rows {
			rows[i] = float32(rng.NormFloat64())
		}
		for i := range query {
			query[i] = float32(rng.NormFloat64())
		}
		index := []int32{0, 8, 3, 3, 1, 7, 7}
		for name, kernel := range map[string]func(*dotArgs){"portable": dotPortableRows, "fastest": dotKernel(dim)} {
			got := make([]float32, len(index)-1)
			kernel(&dotArgs{rows: &rows[0], index: &index[0], product: &got[0], query: &query[0], dim: dim, n: len(got)})
			for i, r := range index[:len(got)] {
				row := rows[int(r)*dim : (int(r)+1)*dim]
				want, slip := product(row, query), float64(dim)*norm(row)*norm(query)/(1<<23)
				if math.Abs(float64(got[i]-want)) > slip {
					t.Errorf("%s, dim %d, row %d: %v, expected %v ± %v", name, dim, r, got[i], want, slip)
				}
			}
		}
	}
}

// Rows that nobody touches are found at their exact place in the order by
// every search, however much is written beside them.
func TestExactRecallUnderWrites(t *testing.T) {
	const n, dim = 3000, 32
	rng := rand.New(rand.NewPCG(4, 4))
	vectors := clustered(rng, n, dim, 10, 0.8)
	x := NewExact(dim)
	defer x.Close()
	fill(t, x, vectors)
	stable := func(i int) bool { return i%3 == 0 }

	ctx, stop := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer stop()
	var readers sync.WaitGroup
	for r := range 3 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(5, uint64(r)))
			for ctx.Err() == nil {
				q := Query{Vector: vectors[rng.IntN(n)], K: n}
				if rng.IntN(2) == 0 {
					q.K = 10 // the scan rules out most rows by their bounds
				}
				got, err := x.Search(context.Background(), q)
				if err != nil {
					t.Error(err)
					return
				}
				var kept []Hit
				seen := map[string]bool{}
				for _, h := range got {
					if seen[h.Record.ID] {
						t.Errorf("%s twice in one answer", h.Record.ID)
						return
					}
					seen[h.Record.ID] = true
					if h.Record.Sequence <= n && stable(int(h.Record.Sequence-1)) {
						kept = append(kept, h)
					}
				}
				want := brute(vectors, Query{Vector: q.Vector, K: n}, stable)
				if len(got) == q.K { // what is worse than its last need not be there
					last := got[len(got)-1]
					want = slices.DeleteFunc(want, func(h Hit) bool {
						return cmp.Or(cmp.Compare(last.Cosine, h.Cosine), cmp.Compare(h.Record.ID, last.Record.ID)) > 0
					})
				}
				if len(kept) != len(want) {
					t.Errorf("%d of %d untouched rows found", len(kept), len(want))
					return
				}
				for i := range want {
					if kept[i].Record.ID != want[i].Record.ID || kept[i].Cosine != want[i].Cosine {
						t.Errorf("untouched row %s found as %s", want[i].Record.ID, kept[i].Record.ID)
						return
					}
				}
			}
		})
	}
	for round := uint64(1); ctx.Err() == nil; round++ {
		i := rng.IntN(n)
		if stable(i) {
			continue
		}
		r := record(i, vectors[rng.IntN(n)])
		r.Sequence = round*n + uint64(i) + 1
		if err := x.Upsert(context.Background(), []Record{r}); err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 {
			if err := x.Delete(context.Background(), []string{videoID((i+3)/3*3%n + 1)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	readers.Wait()
}

// Deleting most of an index gives its blocks back and loses nothing else.
func TestExactCompacts(t *testing.T) {
	const n, dim = 5 * blockRows, 16
	rng := rand.New(rand.NewPCG(6, 6))
	vectors := clustered(rng, n, dim, 10, 0.8)
	x := NewExact(dim)
	defer x.Close()
	fill(t, x, vectors)
	var gone []string
	kept := func(i int) bool { return i%4 == 1 }
	for i := range n {
		if !kept(i) {
			gone = append(gone, videoID(i))
		}
	}
	if err := x.Delete(context.Background(), gone); err != nil {
		t.Fatal(err)
	}
	if blocks := len(*x.blocks.Load()); blocks != 2 {
		t.Errorf("%d blocks left, expected 2", blocks)
	}
	q := Query{Vector: vectors[0], K: MaxK}
	got, err := x.Search(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	sameHits(t, "after compaction", got, brute(vectors, q, kept))
	fill(t, x, vectors)
	if got, err = x.Search(context.Background(), q); err != nil {
		t.Fatal(err)
	}
	sameHits(t, "filled again", got, brute(vectors, q, nil))
}

// Filters answer as brute force does, whatever shape the categories have.
func TestExactFiltersEqualBruteForce(t *testing.T) {
	const n, dim = 2 * blockRows, 24
	rng := rand.New(rand.NewPCG(7, 7))
	vectors := clustered(rng, n, dim, 10, 0.8)
	x := NewExact(dim)
	defer x.Close()
	tagOf := func(i int) int64 { return int64(i * 7919 % 100) }
	dayOf := func(i int) int64 { return int64(i * 31 / 7 % 100) }
	at := func(day int64) time.Time { return time.Unix(day*24*3600, 0) }
	records := make([]Record, n)
	for i, v := range vectors {
		records[i] = record(i, v) // categories 0 to 6
		records[i].TagIDs, records[i].PublishedAt = []int64{-1, tagOf(i)}, at(dayOf(i))
	}
	if err := x.Upsert(context.Background(), records); err != nil {
		t.Fatal(err)
	}
	check := func(f Filter, keep func(i int) bool) {
		t.Helper()
		for _, k := range []int{10, 700} {
			q := Query{Vector: vectors[rng.IntN(n)], K: k, Filter: f}
			got, err := x.Search(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			sameHits(t, fmt.Sprintf("%+v", f), got, brute(vectors, q, keep))
		}
	}
	for _, categories := range [][]int64{
		{3}, {0, 1, 2, 3, 4, 5, 6}, {6, 0, 6}, {math.MinInt64, 2, math.MaxInt64}, {-1, 7}, {5, 1 << 40},
	} {
		keep := func(i int) bool { return slices.Contains(categories, int64(i%7)) }
		check(Filter{Categories: categories}, keep)
	}
	// From none of the rows to all, in every turn in which a filter can be asked.
	for _, tags := range []int64{0, 1, 5, 30, 90, 100} {
		for _, day := range []int64{0, 10, 60, 100} {
			f := Filter{Categories: []int64{0, 1, 2, 4, 5, 6}, Tags: []int64{1000}, PublishedAfter: at(day), ExcludeIDs: []string{videoID(9), videoID(10)}}
			for tag := range tags {
				f.Tags = append(f.Tags, tag)
			}
			check(f, func(i int) bool {
				return i%7 != 3 && tagOf(i) < tags && dayOf(i) >= day && i != 9 && i != 10
			})
		}
	}
}
