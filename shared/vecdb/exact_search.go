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
	// A block's first span decides for the block.
	lateShare = 3
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
	best    topK
	args    scanArgs
	index   [spanRows]int32 // the rows of a kernel call
	scale   [spanRows]float32
	slack   [spanRows]float32
	upper   [spanRows]float32
	masks   [spanRows / groupRows]uint8
	dots    dotArgs
	near    [spanRows + 1]int32 // the rows of a call of the second kernel
	product [spanRows]float32
	// rounding times a row's norm is the most by which float32 misses its product.
	rounding float32
	late     bool // ask the filter only about rows whose bound reaches the threshold
}

func (sc *scanner) begin(s *search) {
	sc.search = s
	sc.best = topK{k: s.q.K}
	sc.args.query, sc.args.rowBytes = &s.form.numbers[0], s.x.stride/2
	sc.args.offset, sc.args.queryScale, sc.args.queryNorm = s.form.offset, s.form.scale, s.form.norm
	sc.args.index, sc.args.upper, sc.args.masks = &sc.index[0], &sc.upper[0], &sc.masks[0]
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
	sc.late = false
	for base := 0; base < b.used; base += spanRows {
		n := min(spanRows, b.used-base)
		left := n
		if sc.filter.columns && !sc.late {
			left = sc.filter.rows(b, base, n, sc.index[:])
			sc.late = left >= n/lateShare
		}
		if left == n || sc.late {
			left = n
			sc.consecutive(b, base)
		} else {
			sc.gather(b, left)
		}
		if left > 0 {
			sc.span(b, left)
		}
	}
}

// consecutive points the kernel at the rows from base on.
func (sc *scanner) consecutive(b *block, base int) {
	for i := range sc.index {
		sc.index[i] = int32(base + i)
	}
	sc.args.scale, sc.args.slack = &b.scale[base], &b.slack[base]
}

// gather points the kernel at the first n rows of the index, the last group
// filled up with row 0.
func (sc *scanner) gather(b *block, n int) {
	clear(sc.index[n:])
	for i, row := range sc.index[:n] {
		sc.scale[i], sc.slack[i] = b.scale[row], b.slack[row]
	}
	sc.args.scale, sc.args.slack = &sc.scale[0], &sc.slack[0]
}

// span runs the kernel over the first n rows of the index and considers those
// whose bound reaches the threshold: by their fp32 product, and the few that
// come close by that, too, by the one that counts.
func (sc *scanner) span(b *block, n int) {
	groups := (n + groupRows - 1) / groupRows
	sc.args.rows, sc.args.groups, sc.args.threshold = &b.quant[0], groups, sc.threshold()
	sc.x.scan(&sc.args)
	left := sc.reaching(b, groups, n)
	if left == 0 {
		return
	}
	sc.near[left] = sc.near[left-1]
	sc.dots.rows, sc.dots.n = &b.embedding[0], left
	sc.x.dots(&sc.dots)
	for i, row := range sc.near[:left] {
		if slip := sc.rounding * (b.reach + b.slack[row]); !(sc.product[i]+slip < sc.threshold()) {
			sc.consider(b, int(row))
		}
	}
}

// reaching collects the rows that the kernel did not rule out, nor the filter.
func (sc *scanner) reaching(b *block, groups, n int) (left int) {
	for g, mask := range sc.masks[:groups] {
		for ; mask != 0; mask &= mask - 1 {
			i := g*groupRows + bits.TrailingZeros8(mask)
			if i >= n {
				break
			}
			row := sc.index[i]
			if b.rest[row] == "" || sc.late && !sc.filter.row(b, int(row)) {
				continue
			}
			sc.near[left] = row
			left++
		}
	}
	return left
}

// threshold is the product below which no row is among the K best.
func (sc *scanner) threshold() float32 {
	return max(sc.best.threshold(), math.Float32frombits(sc.floor.Load()))
}

// consider computes row i's true product and offers it.
func (sc *scanner) consider(b *block, i int) {
	rest := b.rest[i]
	if !sc.filter.final(rest) {
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
