package query

import (
	"context"
	"slices"

	lru "github.com/hashicorp/golang-lru/v2"

	"videosim/shared/vecdb"
)

// Vectors remembers the records of videos that were asked about, so that a
// query by id is one search and no fetch. It is never stale: the search that
// answers is asked for the video itself too, and only an answer that holds it
// at the remembered sequence counts. Any other, after an edit, a take-down or
// a tie of more copies than places, is thrown away and asked anew with a fetch.
type Vectors struct {
	records *lru.Cache[string, vecdb.Record]
}

// NewVectors keeps at most size records, the one asked about longest ago
// forgotten first.
func NewVectors(size int) (*Vectors, error) {
	records, err := lru.New[string, vecdb.Record](size)
	return &Vectors{records: records}, err
}

// remember keeps the record of a query by one id.
func (v *Vectors) remember(r vecdb.Record) {
	if v != nil {
		v.records.Add(r.ID, r)
	}
}

// known returns the record that q is about, where one search can answer q and
// prove the record: q names one id, and the video itself would pass its filter.
func (v *Vectors) known(q Similar) (vecdb.Record, bool) {
	if v == nil || q.Diversity > 0 || len(q.Positive) != 1 || len(q.Negative) > 0 || q.Positive[0].ID == "" {
		return vecdb.Record{}, false
	}
	r, ok := v.records.Get(q.Positive[0].ID)
	return r, ok && Passes(r, q.Filter)
}

// Passes reports whether a filter lets a record through, by the rules of vecdb.
func Passes(r vecdb.Record, f vecdb.Filter) bool {
	switch {
	case len(f.Categories) > 0 && !slices.Contains(f.Categories, r.CategoryID):
		return false
	case len(f.Tags) > 0 && !slices.ContainsFunc(r.TagIDs, func(tag int64) bool { return slices.Contains(f.Tags, tag) }):
		return false
	case slices.Contains(f.ExcludeIDs, r.ID):
		return false
	case f.PublishedAfter.IsZero() && f.PublishedBefore.IsZero():
		return true
	case r.PublishedAt.IsZero(): // an unknown time passes no filter on time
		return false
	}
	return !r.PublishedAt.Before(f.PublishedAfter) && (f.PublishedBefore.IsZero() || r.PublishedAt.Before(f.PublishedBefore))
}

// searchKnown is the search of a first page along a remembered vector, which it
// leaves in l. ok is false where the answer does not prove the vector.
func (e *Engine) searchKnown(ctx context.Context, q Similar, l *list) (hits []vecdb.Hit, ok bool, err error) {
	r, ok := e.Vectors.known(q)
	if !ok {
		return nil, false, nil
	}
	direction, err := Direction([][]float32{r.Embedding}, nil)
	if err != nil {
		return nil, false, err
	}
	// One place more for the video itself, and one to know whether more follow.
	vq := vecdb.Query{Vector: direction, K: q.K + 2, Filter: q.Filter}
	hits, err = e.searchIndex(ctx, vq)
	if err != nil {
		return nil, false, err
	}
	own := slices.IndexFunc(hits, func(h vecdb.Hit) bool { return h.Record.ID == r.ID })
	if own < 0 || hits[own].Record.Sequence != r.Sequence {
		e.Vectors.records.Remove(r.ID)
		return nil, false, nil
	}
	e.show(q, vq, hits)
	l.direction = direction
	hits = slices.Delete(hits, own, own+1)
	return e.atLeast(q.MinScore, hits[:min(len(hits), q.K+1)]), true, nil
}
