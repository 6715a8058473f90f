package vecdb

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// spanRows is how many rows one kernel call covers: few enough that the
	// threshold of the next call profits from the hits of this one.
	spanRows = 256
	// workerRows is how many rows make another core worth its start (20 µs of scan).
	workerRows = 16384
)

// Search implements Index. Each row's int8 product bounds its true product
// from above; a row whose bound reaches the k-th best product so far is
// computed in full at once. Large indexes are scanned by all cores.
func (x *Exact) Search(ctx context.Context, q Query) ([]Hit, error) {
	if err := checkQuery(&q, x.dim); err != nil {
		return nil, err
	}
	const attempts = 3
	for n := 1; ; n++ {
		deletes := x.deletes.Load()
		found, err := x.collect(ctx, &q)
		if err != nil {
			return nil, err
		}
		// A video deleted and published again during the scan may have been
		// met in both of its slots.
		if x.deletes.Load() != deletes && removeTwice(&found) && n < attempts {
			continue
		}
		return hits(found, q.WithEmbedding), nil
	}
}

// collect runs the scan and returns at most K candidates, best first.
func (x *Exact) collect(ctx context.Context, q *Query) ([]candidate, error) {
	x.layout.RLock()
	defer x.layout.RUnlock()
	if x.closed {
		return nil, errClosed
	}
	s := &search{x: x, q: q, filter: newRowFilter(&q.Filter), blocks: *x.blocks.Load()}
	s.floor.Store(math.Float32bits(float32(math.Inf(-1))))
	s.quant = make([]int16, x.stride)
	s.scale, s.norm = quantiseQuery(s.quant, q.Vector, x.levels)

	workers := max(1, min(runtime.GOMAXPROCS(0), len(s.blocks), len(s.blocks)*blockRows/workerRows))
	if workers == 1 {
		return s.run(ctx)
	}
	return s.runParallel(ctx, workers)
}

// search is one query under way.
type search struct {
	x      *Exact
	q      *Query
	filter *rowFilter
	blocks []*block
	quant  []int16
	scale  float32
	norm   float32
	next   atomic.Int64  // the first block that no worker has taken
	floor  atomic.Uint32 // bits of the best K-th product of any worker: K rows reach it
}

func (s *search) runParallel(ctx context.Context, workers int) ([]candidate, error) {
	found := make([][]candidate, workers)
	failed := make([]error, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() { found[w], failed[w] = s.run(ctx) })
	}
	wait.Wait()
	for _, err := range failed {
		if err != nil {
			return nil, err
		}
	}
	all := slices.Concat(found...)
	slices.SortFunc(all, compareCandidates)
	return all[:min(len(all), s.q.K)], nil
}

// run takes block after block until none is left.
func (s *search) run(ctx context.Context) ([]candidate, error) {
	sc := s.x.pool.Get().(*scanner)
	defer s.x.pool.Put(sc)
	sc.begin(s)
	for {
		n := int(s.next.Add(1)) - 1
		if n >= len(s.blocks) {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sc.block(s.blocks[n])
	}
	return sc.best.sorted(), nil
}

// scanner is the working memory of one worker.
type scanner struct {
	*search
	best  topK
	args  scanArgs
	pass  [spanRows]bool
	upper [spanRows]float32
	masks [spanRows / groupRows]uint8
}

func newScanner(stride int) *scanner {
	sc := &scanner{}
	sc.args.stride = stride
	return sc
}

func (sc *scanner) begin(s *search) {
	sc.search = s
	sc.best = topK{k: s.q.K}
	sc.args.query = &s.quant[0]
	sc.args.queryScale, sc.args.queryNorm = s.scale, s.norm
}

func (sc *scanner) block(b *block) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for base := 0; base < b.used; base += spanRows {
		n := min(spanRows, b.used-base)
		if !sc.filter.columns {
			sc.span(b, base, (n+groupRows-1)/groupRows)
			continue
		}
		if sc.filter.pass(b, base, sc.pass[:n]) {
			sc.passing(b, base, n)
		}
	}
}

// passing scans the groups of four that hold a row which passes the filter.
func (sc *scanner) passing(b *block, base, n int) {
	clear(sc.pass[n:])
	groups := (n + groupRows - 1) / groupRows
	for g := 0; g < groups; {
		end := g
		for end < groups && sc.anyPass(end) {
			end++
		}
		if end > g {
			sc.spanFiltered(b, base, g, end)
		}
		g = end + 1
	}
}

func (sc *scanner) anyPass(group int) bool {
	p := sc.pass[group*groupRows : (group+1)*groupRows]
	return p[0] || p[1] || p[2] || p[3]
}

// span scans groups of four rows from base on.
func (sc *scanner) span(b *block, base, groups int) {
	threshold := sc.kernel(b, base, groups)
	for g, mask := range sc.masks[:groups] {
		for ; mask != 0; mask &= mask - 1 {
			i := g*groupRows + lowestBit(mask)
			if !(sc.upper[i] < threshold) {
				threshold = sc.consider(b, base+i)
			}
		}
	}
}

// spanFiltered scans groups [from, to) of the span at base and considers the
// rows that pass.
func (sc *scanner) spanFiltered(b *block, base, from, to int) {
	start := base + from*groupRows
	threshold := sc.kernel(b, start, to-from)
	for g, mask := range sc.masks[:to-from] {
		for ; mask != 0; mask &= mask - 1 {
			i := g*groupRows + lowestBit(mask)
			if sc.pass[start-base+i] && !(sc.upper[i] < threshold) {
				threshold = sc.consider(b, start+i)
			}
		}
	}
}

// kernel fills upper and masks for the groups from row start on and returns
// the threshold that it used.
func (sc *scanner) kernel(b *block, start, groups int) float32 {
	a := &sc.args
	a.rows = &b.quant[start*a.stride]
	a.scale, a.slack = &b.scale[start], &b.slack[start]
	a.upper, a.masks = &sc.upper[0], &sc.masks[0]
	a.groups = groups
	a.threshold = max(sc.best.threshold(), math.Float32frombits(sc.floor.Load()))
	sc.x.scan(a)
	return a.threshold
}

// consider computes row i's true product, offers it, and returns the new threshold.
func (sc *scanner) consider(b *block, i int) float32 {
	rest := b.rest[i]
	if rest != "" && sc.filter.final(rest) {
		embedding := b.embedding[i*sc.x.dim : (i+1)*sc.x.dim]
		c := candidate{cosine: product(embedding, sc.q.Vector), rest: rest}
		if sc.best.accepts(&c) {
			c.category, c.published, c.sequence = b.category[i], b.published[i], b.sequence[i]
			if sc.q.WithEmbedding {
				c.embedding = slices.Clone(embedding)
			}
			sc.best.push(c)
			sc.raiseFloor()
		}
	}
	return max(sc.best.threshold(), math.Float32frombits(sc.floor.Load()))
}

func (sc *scanner) raiseFloor() {
	mine := sc.best.threshold()
	for {
		old := sc.floor.Load()
		if math.Float32frombits(old) >= mine || sc.floor.CompareAndSwap(old, math.Float32bits(mine)) {
			return
		}
	}
}

func hits(found []candidate, withEmbedding bool) []Hit {
	out := make([]Hit, len(found))
	for i := range found {
		c := &found[i]
		r := &out[i].Record
		r.CategoryID, r.PublishedAt, r.Sequence = c.category, loadedTime(c.published), c.sequence
		if withEmbedding {
			r.Embedding = c.embedding
		}
		unpack(c.rest, r)
		out[i].Cosine = c.cosine
	}
	return out
}

// removeTwice keeps the newest of candidates with the same id and reports
// whether there were any.
func removeTwice(found *[]candidate) bool {
	newest := make(map[string]uint64, len(*found))
	for _, c := range *found {
		newest[packedID(c.rest)] = max(newest[packedID(c.rest)], c.sequence)
	}
	if len(newest) == len(*found) {
		return false
	}
	*found = slices.DeleteFunc(*found, func(c candidate) bool {
		id := packedID(c.rest)
		if sequence, left := newest[id]; left && c.sequence == sequence {
			delete(newest, id)
			return false
		}
		return true
	})
	return true
}

func compareCandidates(a, b candidate) int {
	return cmp.Or(cmp.Compare(b.cosine, a.cosine), cmp.Compare(packedID(a.rest), packedID(b.rest)))
}
