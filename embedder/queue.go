package embedder

import (
	"context"
	"slices"
	"sync"
	"time"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// lane is one of the two ways to the model.
type lane uint8

const (
	interactive lane = iota // somebody waits for the answer: served first
	bulk                    // the stream: waits as long as it must
	lanes
)

func (l lane) String() string { return [...]string{"interactive", "bulk"}[l] }

// interactiveRun is how many interactive batches may go before or within a bulk
// batch. Without it, interactive load at the limit would stop the stream
// for good; with it, the stream keeps at least a ninth of the model.
const interactiveRun = 8

// limits bound one batch.
type limits struct {
	videos    int // rows
	positions int // tokens and frames of all rows
}

// cost is how many positions the model computes for a batch.
func cost(batch []*item) int {
	total := 0
	for _, it := range batch {
		total += it.positions
	}
	return max(1, total)
}

// item is one video that waits for the model: a collated batch of one row.
type item struct {
	ctx       context.Context // its end means that nobody waits any more
	input     *video.Batch
	positions int // tokens of both models and frames that this row fills
	queued    time.Time
	wait      time.Duration // from queued to the model, set by the batcher
	refused   bool          // between the layers of another batch
	result    chan result   // capacity 1: the batcher's send never blocks
}

// result is what the model said about one item.
type result struct {
	late, early   []float32
	wait, forward time.Duration // for the model, and in it
	err           error
}

// queue holds the waiting items of both lanes. It has no limit of its own:
// whoever pushes holds a slot of its lane, and the slots are the limit.
type queue struct {
	limits limits

	mu      sync.Mutex
	waiting [lanes][]*item
	staged  []*item // the next batch of the bulk lane, where it is formed already
	closed  [lanes]bool
	run     int // interactive batches since the last bulk one
	bound   int // positions of the next batch, at most those of limits; 0: those
	wake    chan struct{}
}

func newQueue(l limits) *queue {
	return &queue{limits: l, wake: make(chan struct{}, 1)}
}

// push adds it to a lane. It never blocks; it fails only where the lane is closed.
func (q *queue) push(l lane, it *item) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed[l] {
		return errStopping
	}
	q.waiting[l] = append(q.waiting[l], it)
	q.signal()
	return nil
}

// signal wakes take. The channel holds one token, which is enough: take looks
// at everything that waits.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// remove takes it back out, if the batcher has not taken it yet.
func (q *queue) remove(l lane, it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting[l] {
		if w == it {
			q.waiting[l] = append(q.waiting[l][:i], q.waiting[l][i+1:]...)
			return
		}
	}
	// In a copy: the batcher may be reading the batch.
	q.staged = slices.DeleteFunc(slices.Clone(q.staged), func(s *item) bool { return s == it })
}

// take blocks until something waits, then returns one batch of one lane. It
// returns nil once both lanes are closed.
func (q *queue) take() ([]*item, lane) {
	for {
		if batch, l, done := q.tryTake(); done || len(batch) > 0 {
			return batch, l
		}
		<-q.wake
	}
}

func (q *queue) tryTake() (batch []*item, l lane, done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l = q.nextLane()
	switch {
	case l == bulk && len(q.staged) > 0:
		batch, q.staged = q.staged, nil
	case len(q.waiting[l]) > 0:
		batch, q.waiting[l] = form(q.waiting[l], q.next())
	default:
		return nil, l, q.closed[interactive] && q.closed[bulk]
	}
	return batch, l, false
}

// next are the limits of the next batch.
func (q *queue) next() limits {
	next := q.limits
	if q.bound > 0 {
		next.positions = q.bound
	}
	return next
}

// stage forms the bulk lane's next batch before its turn, and returns it. It stays in
// the queue: the interactive lane goes before it, and close gives it back. It returns
// nil where one is staged already, or where the batch is not full, since until its
// turn others may join it.
func (q *queue) stage() []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.staged) > 0 || len(q.waiting[bulk]) == 0 {
		return nil
	}
	next := q.next()
	batch, rest := form(q.waiting[bulk], next)
	if len(rest) == 0 && len(batch) < next.videos {
		return nil
	}
	q.staged, q.waiting[bulk] = batch, rest
	return batch
}

// takeBetween returns a batch of the interactive lane for which a batch of the stream,
// done with some of its layers, may stand aside: at most interactiveRun times, and
// evenly, so that a ninth of its layers is the longest that a request waits for it.
func (q *queue) takeBetween(done, total int) []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := q.waiting[interactive]
	if len(waiting) == 0 || waiting[0].refused || q.run >= done*(interactiveRun+1)/total {
		return nil
	}
	q.run++
	batch, rest := form(waiting, q.next())
	q.waiting[interactive] = rest
	return batch
}

// half begins a part of a batch of the stream that was refused. It stands aside like
// any other batch: else requests would wait for all parts.
func (q *queue) half() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.run = 0
}

// putBack gives a batch of takeBetween its place in the lane again. It will not be
// taken between others any more.
func (q *queue) putBack(batch []*item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range batch {
		it.refused = true
		if q.closed[interactive] {
			it.result <- result{err: errStopping}
		}
	}
	if !q.closed[interactive] {
		q.waiting[interactive] = append(batch, q.waiting[interactive]...)
		q.signal()
	}
}

// setBound sets how many positions the next batches may have.
func (q *queue) setBound(positions int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bound = positions
}

// nextLane is interactive while anything waits there, but for one bulk batch
// after every interactiveRun of the others.
func (q *queue) nextLane() lane {
	bulkWaits := len(q.waiting[bulk])+len(q.staged) > 0
	if len(q.waiting[interactive]) == 0 || (bulkWaits && q.run >= interactiveRun) {
		q.run = 0
		return bulk
	}
	q.run++
	return interactive
}

// close refuses all later pushes to a lane and fails what waits in it.
func (q *queue) close(l lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed[l] = true
	waiting := q.waiting[l]
	q.waiting[l] = nil
	if l == bulk {
		waiting, q.staged = append(waiting, q.staged...), nil
	}
	for _, it := range waiting {
		it.result <- result{err: errStopping}
	}
	q.signal()
}

// depth is the number of items that wait in a lane.
func (q *queue) depth(l lane) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l == bulk {
		return len(q.waiting[l]) + len(q.staged)
	}
	return len(q.waiting[l])
}

// errStopping is the answer to work that the process can no longer do.
var errStopping = errs.New(errs.Unavailable, "the embedder is stopping")
