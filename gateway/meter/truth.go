package meter

import (
	"container/heap"

	"videosim/gateway/query"
	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

// asked is a live query with its answer, to be answered exactly.
type asked struct {
	query.Answered
	hits map[string]*hit

	// What the pass has found: the best cosines of videos that have not
	// changed since the query, at most K of them, and how many there are.
	best       cosines
	candidates int
}

// hit is one video of the answer.
type hit struct {
	sequence  uint64
	cosine    float64
	unchanged bool // the pass has met the very version that was answered
}

func newAsked(a query.Answered) *asked {
	q := &asked{Answered: a, hits: make(map[string]*hit, len(a.Hits))}
	for _, h := range a.Hits {
		q.hits[h.Record.ID] = &hit{sequence: h.Record.Sequence}
	}
	q.Hits = nil // the rest of the records is not needed
	return q
}

// meet shows a video's latest embedding to the query. What changed after the
// query is nobody's fault: the video counts neither for nor against the answer.
func (q *asked) meet(e *event.Embedding) {
	if e.Deleted || e.Sequence > q.Seen || len(e.Embedding) != len(q.Query.Vector) {
		return
	}
	if !query.Passes(recordOf(e), q.Query.Filter) {
		return
	}
	cosine := eval.Cosine(e.Embedding, q.Query.Vector)
	q.candidates++
	if len(q.best) < q.Query.K {
		heap.Push(&q.best, cosine)
	} else if cosine > q.best[0] {
		q.best[0] = cosine
		heap.Fix(&q.best, 0)
	}
	if h := q.hits[e.Id]; h != nil && h.sequence == e.Sequence {
		h.unchanged, h.cosine = true, cosine
	}
}

// tie is what two cosines of one pair may differ by, computed in two ways.
const tie = 1e-6

// recall is the share of the true best that the answer holds, among videos
// that have not changed since. ok is false where none is left to compare.
func (q *asked) recall() (share float64, ok bool) {
	changed := 0
	for _, h := range q.hits {
		if !h.unchanged {
			changed++
		}
	}
	places := min(q.Query.K-changed, q.candidates)
	if places <= 0 {
		return 0, false
	}
	for len(q.best) > places {
		heap.Pop(&q.best)
	}
	found := 0
	for _, h := range q.hits {
		if h.unchanged && h.cosine >= q.best[0]-tie {
			found++
		}
	}
	return float64(min(found, places)) / float64(places), true
}

func recordOf(e *event.Embedding) vecdb.Record {
	r := vecdb.Record{ID: e.Id, CategoryID: e.CategoryId, TagIDs: e.TagIds}
	if e.PublishedAt.IsValid() {
		r.PublishedAt = e.PublishedAt.AsTime()
	}
	return r
}

// cosines is a heap with the smallest on top.
type cosines []float64

func (c cosines) Len() int           { return len(c) }
func (c cosines) Less(i, j int) bool { return c[i] < c[j] }
func (c cosines) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *cosines) Push(x any)        { *c = append(*c, x.(float64)) }
func (c *cosines) Pop() any {
	old := *c
	last := old[len(old)-1]
	*c = old[:len(old)-1]
	return last
}
