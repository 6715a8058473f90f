package vecdb

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// spanRows is how many rows one kernel call covers: few enough that the
	// threshold of the next call profits from the hits of this one.
	spanRows = 256
	// lateShare: where at least one row in so many passes a filter, the kernel
	// takes all rows and the filter those that reach the threshold, which are
	// few; where fewer pass, the filter goes first and spares the kernel most.
	lateShare = 3
	// settleRows is how many rows that may be among the best are gathered before
	// they are computed in full: each is fetched while the one before is at work.
	settleRows = 32
	// workerRows is how many rows make another core worth its start (20 µs of scan).
	workerRows = 16384
)

// Search implements Index. Each row's product in 4 bits bounds its true product
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
	s.form = quantiseQuery(q.Vector, x.stride)

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
	form   queryForm
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
	defer sc.end()
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
	best     topK
	args     scanArgs
	straight [spanRows + aheadRows]int32  // 0, 1, 2…: the rows of a kernel call on all rows
	passing  [blockRows + aheadRows]int32 // rows that pass the filter; past them, any that exist
	scale    [spanRows]float32
	slack    [spanRows]float32
	upper    [spanRows]float32
	masks    [spanRows / groupRows]uint8
	dots     dotArgs
	near     [settleRows + spanRows + 1]int32 // rows whose bound reaches the threshold
	left     int                              // in near
	product  [settleRows + spanRows]float32
	// rounding times a row's norm is the most by which float32 misses its product.
	rounding float32
	turn     turn
}

// turn is when the filter is asked about a row. A block's first span decides for
// the block.
type turn int

const (
	never turn = iota
	first      // before any product
	late       // where the kernel's bound reaches the threshold
)

func newScanner() any {
	sc := new(scanner)
	for i := range sc.straight {
		sc.straight[i] = int32(i)
	}
	return sc
}

func (sc *scanner) begin(s *search) {
	sc.search = s
	sc.best = topK{k: s.q.K}
	sc.args.query, sc.args.rowBytes = &s.form.numbers[0], s.x.stride/2
	sc.args.offset, sc.args.queryScale, sc.args.queryNorm = s.form.offset, s.form.scale, s.form.norm
	sc.args.upper, sc.args.masks = &sc.upper[0], &sc.masks[0]
	sc.dots = dotArgs{index: &sc.near[0], product: &sc.product[0], query: &s.q.Vector[0], dim: s.x.dim}
	sc.rounding = upwards(float64(s.x.dim) * float64(s.form.norm) / (1 << 23))
}

// end lets go of the query, so that a resting scanner keeps nothing alive.
func (sc *scanner) end() {
	sc.search, sc.best, sc.args.query, sc.args.rows, sc.dots = nil, topK{}, nil, nil, dotArgs{}
}

func (sc *scanner) block(b *block) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	sc.args.extra = b.reach * sc.form.residual
	if sc.turn = sc.choose(b); sc.turn == first {
		n := sc.filter.rows(b, b.used, sc.passing[:])
		for start := 0; start < n; start += spanRows {
			sc.gathered(b, sc.passing[start:min(start+spanRows, n)])
		}
	} else {
		for start := 0; start < b.used; start += spanRows {
			sc.consecutive(b, start, min(spanRows, b.used-start))
		}
	}
	sc.settle(b)
}

// choose says when asking the filter costs least.
func (sc *scanner) choose(b *block) turn {
	if !sc.filter.columns {
		return never
	}
	sample := min(spanRows, b.used)
	if sc.filter.rows(b, sample, sc.passing[:]) < sample/lateShare {
		return first
	}
	return late
}

// consecutive runs the kernel over the n rows from start on.
func (sc *scanner) consecutive(b *block, start, n int) {
	sc.args.rows, sc.args.index = &b.quant[start*sc.args.rowBytes], &sc.straight[0]
	sc.args.scale, sc.args.slack = &b.scale[start], &b.slack[start]
	sc.span(n)
	sc.reaching(b, sc.straight[:n], int32(start))
}

// gathered runs the kernel over rows that pass the filter. The last group is
// filled up with what follows them in passing.
func (sc *scanner) gathered(b *block, rows []int32) {
	for i, row := range rows {
		sc.scale[i], sc.slack[i] = b.scale[row], b.slack[row]
	}
	sc.args.rows, sc.args.index = &b.quant[0], &rows[0]
	sc.args.scale, sc.args.slack = &sc.scale[0], &sc.slack[0]
	sc.span(len(rows))
	sc.reaching(b, rows, 0)
}

// span runs the kernel over n rows.
func (sc *scanner) span(n int) {
	sc.args.groups, sc.args.threshold = (n+groupRows-1)/groupRows, sc.threshold()
	sc.x.scan(&sc.args)
}

// reaching notes those of the kernel's rows that it did not rule out; row i is
// base + index[i].
func (sc *scanner) reaching(b *block, index []int32, base int32) {
	for g, mask := range sc.masks[:sc.args.groups] {
		for ; mask != 0; mask &= mask - 1 {
			if i := g*groupRows + bits.TrailingZeros8(mask); i < len(index) {
				sc.near[sc.left] = base + index[i]
				sc.left++
			}
		}
	}
	if sc.left >= settleRows {
		sc.settle(b)
	}
}

// settle considers the rows that were noted: by their fp32 product, and the few
// that come close by that, too, by the one that counts.
func (sc *scanner) settle(b *block) {
	n := sc.left
	sc.left = 0
	if sc.turn == late {
		n = sc.filter.narrow(b, sc.near[:n])
	}
	if n == 0 {
		return
	}
	sc.near[n] = sc.near[n-1]
	sc.dots.rows, sc.dots.n = &b.embedding[0], n
	sc.x.dots(&sc.dots)
	for i, row := range sc.near[:n] {
		slip := sc.rounding * (b.reach + b.slack[row])
		if sc.product[i]+slip >= sc.threshold() {
			sc.consider(b, int(row))
		}
	}
}

// threshold is the product below which no row is among the K best.
func (sc *scanner) threshold() float32 {
	return max(sc.best.threshold(), math.Float32frombits(sc.floor.Load()))
}

// consider computes row i's true product and offers it.
func (sc *scanner) consider(b *block, i int) {
	rest := b.rest[i]
	if rest == "" || !sc.filter.final(rest) { // where all rows reach the threshold, so do empty slots
		return
	}
	embedding := b.embedding[i*sc.x.dim : (i+1)*sc.x.dim]
	c := candidate{cosine: product(embedding, sc.q.Vector), rest: rest}
	if !sc.best.accepts(&c) {
		return
	}
	c.category, c.published, c.sequence = b.category[i], b.published[i], b.sequence[i]
	if sc.q.WithEmbedding {
		c.embedding = slices.Clone(embedding)
	}
	sc.best.push(c)
	sc.raiseFloor()
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
