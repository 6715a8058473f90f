package query

import (
	"context"
	"fmt"
	"time"

	"videosim/shared/errs"
	"videosim/shared/vecdb"
)

// Similar asks for the K videos whose embeddings lie nearest to the direction
// of the positives away from the negatives. The ids among them are left out of
// the answer, as are those of Filter.ExcludeIDs.
type Similar struct {
	Positive, Negative []Input
	K                  int // 1 to MaxK
	Filter             vecdb.Filter
	MinScore           float64 // on the human scale; 0 keeps everything
	Diversity          float64 // 0: by cosine alone; towards 1: unlike each other first
	SkipMissing        bool    // leave missing ids out instead of failing
	PageToken          string  // of the page before; empty: the first page
	Seen               uint64  // up to which event the index is known to have seen; 0: not known
	MinSeen            uint64  // an older list than this is refused
}

// Result is one video of an answer.
type Result struct {
	Cosine, Score float64
	vecdb.Record
}

// Page is an answer: results in descending order, or in order of choice where
// diversity was asked for. All but Results is the same on every page of a list.
type Page struct {
	Results   []Result
	Seen      uint64   // the list reflects every event up to this one
	Missing   []string // inputs that the index does not hold
	Reports   []Report
	NextToken string // empty on the last page
}

// Similar answers one query.
func (e *Engine) Similar(ctx context.Context, q Similar) (*Page, error) {
	if q.PageToken == "" {
		return e.firstPage(ctx, q)
	}
	token, err := e.Pages.open(q, e.Model.Fingerprint, time.Now())
	if err != nil {
		return nil, err
	}
	if token.frozen() {
		return e.frozenPage(ctx, q, token)
	}
	return e.secondPage(ctx, q, token)
}

// firstPage searches one hit further than it needs, to know whether more follow.
// The list is frozen when a second page is asked for: most callers never do.
func (e *Engine) firstPage(ctx context.Context, q Similar) (*Page, error) {
	l := newList(q)
	hits, known, err := e.searchKnown(ctx, q, &l)
	if err != nil {
		return nil, err
	}
	if !known {
		if err := e.look(ctx, q, &l); err != nil {
			return nil, err
		}
		if q.Diversity > 0 {
			return e.diversePage(ctx, q, l)
		}
		if hits, err = e.search(ctx, q, l.direction, q.K+1); err != nil {
			return nil, err
		}
	}
	page := l.page()
	page.Results = e.results(hits[:min(q.K, len(hits))])
	if len(hits) > q.K {
		t := token{list: l, last: candidates(hits[q.K-1 : q.K])[0]}
		for _, r := range page.Results {
			t.shown = append(t.shown, shownID(r.ID))
		}
		page.NextToken, err = e.Pages.seal(q, e.Model.Fingerprint, t)
	}
	return page, err
}

// frozenDepth is how many results the pages after the first can show.
const frozenDepth = 500

// secondPage freezes the list: what follows the first page's last result now,
// less what the first page has shown. It searches where the first page did,
// though the videos asked about may have changed.
func (e *Engine) secondPage(ctx context.Context, q Similar, t token) (*Page, error) {
	hits, err := e.search(ctx, q, t.direction, len(t.shown)+frozenDepth)
	if err != nil {
		return nil, err
	}
	shown := make(map[uint64]bool, len(t.shown))
	for _, id := range t.shown {
		shown[id] = true
	}
	rest := hits[:0]
	for _, h := range hits {
		if !shown[shownID(h.Record.ID)] && t.last.before(candidate{id: h.Record.ID, cosine: h.Cosine}) {
			rest = append(rest, h)
		}
	}
	return e.cut(q, t.list, rest)
}

// diversePage reorders a pool of candidates and freezes it at once: the order
// of choice depends on the whole pool.
func (e *Engine) diversePage(ctx context.Context, q Similar, l list) (*Page, error) {
	hits, err := e.searchWith(ctx, q, vecdb.Query{Vector: l.direction, K: poolSize(q.K), WithEmbedding: true})
	if err != nil {
		return nil, err
	}
	return e.cut(q, l, Diversify(hits, q.Diversity))
}

// cut puts the first K hits on the page and seals the rest into its token.
func (e *Engine) cut(q Similar, l list, hits []vecdb.Hit) (page *Page, err error) {
	n := min(q.K, len(hits))
	page = l.page()
	page.Results = e.results(hits[:n])
	l.direction = nil
	if n < len(hits) {
		page.NextToken, err = e.Pages.seal(q, e.Model.Fingerprint, token{list: l, rest: candidates(hits[n:])})
	}
	return page, err
}

// frozenPage shows the next K of a frozen list: place, cosine and sequence as
// they were, the other fields as they are now. A video that was deleted or no
// longer passes the filter is left out; no video comes twice.
func (e *Engine) frozenPage(ctx context.Context, q Similar, t token) (*Page, error) {
	n := min(q.K, len(t.rest))
	wanted := make([]string, n)
	for i, c := range t.rest[:n] {
		wanted[i] = c.id
	}
	stored, _, err := e.fetch(ctx, wanted)
	if err != nil {
		return nil, err
	}
	page := t.page()
	for _, c := range t.rest[:n] {
		if r, ok := stored[c.id]; ok && Passes(r, q.Filter) {
			cosine := float64(c.cosine)
			r.Sequence = c.sequence
			page.Results = append(page.Results, Result{Cosine: cosine, Score: e.Model.Score(cosine), Record: r})
		}
	}
	if n < len(t.rest) {
		page.NextToken, err = e.Pages.seal(q, e.Model.Fingerprint, token{list: t.list, rest: t.rest[n:]})
	}
	return page, err
}

// look resolves the inputs and finds the direction to search along.
func (e *Engine) look(ctx context.Context, q Similar, l *list) error {
	inputs := append(append(make([]Input, 0, len(q.Positive)+len(q.Negative)), q.Positive...), q.Negative...)
	res, err := e.Resolve(ctx, inputs)
	if err != nil {
		return err
	}
	if len(res.Missing) > 0 && !q.SkipMissing {
		return errs.New(errs.NotFound, "%w", &MissingError{IDs: res.Missing})
	}
	positive := present(res.Vectors[:len(q.Positive)])
	if len(positive) == 0 && len(res.Missing) > 0 {
		return errs.New(errs.NotFound, "no positive is left: %w", &MissingError{IDs: res.Missing})
	}
	l.missing, l.reports = res.Missing, res.Reports
	l.direction, err = Direction(positive, present(res.Vectors[len(q.Positive):]))
	return err
}

func present(vectors [][]float32) [][]float32 {
	var found [][]float32
	for _, v := range vectors {
		if v != nil {
			found = append(found, v)
		}
	}
	return found
}

func (e *Engine) search(ctx context.Context, q Similar, direction []float32, k int) ([]vecdb.Hit, error) {
	return e.searchWith(ctx, q, vecdb.Query{Vector: direction, K: k})
}

// searchWith adds to a search what the query leaves out, and cuts it at MinScore.
func (e *Engine) searchWith(ctx context.Context, q Similar, vq vecdb.Query) ([]vecdb.Hit, error) {
	vq.Filter = q.Filter
	vq.Filter.ExcludeIDs = q.excluded()
	hits, err := e.searchIndex(ctx, vq)
	if err != nil {
		return nil, err
	}
	e.show(q, vq, hits)
	return e.atLeast(q.MinScore, hits), nil
}

func (e *Engine) searchIndex(ctx context.Context, vq vecdb.Query) ([]vecdb.Hit, error) {
	start := time.Now()
	hits, err := e.Index.Search(ctx, vq)
	TimingsOf(ctx).Since(Search, start)
	if err != nil {
		return nil, fmt.Errorf("search the index: %w", err)
	}
	return hits, nil
}

// show offers an answer to Watch.
func (e *Engine) show(q Similar, vq vecdb.Query, hits []vecdb.Hit) {
	if e.Watch != nil && q.Seen > 0 {
		e.Watch(Answered{Query: vq, Seen: q.Seen, Hits: hits})
	}
}

// atLeast cuts hits, which descend, at a score; 0 keeps everything.
func (e *Engine) atLeast(score float64, hits []vecdb.Hit) []vecdb.Hit {
	if score > 0 {
		for i, h := range hits {
			if e.Model.Score(float64(h.Cosine)) < score {
				return hits[:i]
			}
		}
	}
	return hits
}

// excluded lists the ids that must not be in the answer, each once.
func (q Similar) excluded() []string {
	seen := make(map[string]bool)
	var out []string
	add := func(id string) {
		if id != "" && !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	for _, id := range q.Filter.ExcludeIDs {
		add(id)
	}
	for _, in := range q.Positive {
		add(in.ID)
	}
	for _, in := range q.Negative {
		add(in.ID)
	}
	return out
}

func (e *Engine) results(hits []vecdb.Hit) []Result {
	out := make([]Result, len(hits))
	for i, h := range hits {
		cosine := float64(h.Cosine)
		out[i] = Result{Cosine: cosine, Score: e.Model.Score(cosine), Record: h.Record}
	}
	return out
}
