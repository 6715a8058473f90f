package query

import (
	"context"
	"fmt"

	"videosim/shared/errs"
	"videosim/shared/eval"
)

// PairScore is how alike two inputs are. Known is false where one of them is
// not in the index.
type PairScore struct {
	Cosine, Score float64
	Known         bool
}

// PairScores is an answer, a score a pair in order.
type PairScores struct {
	Scores  []PairScore
	Missing []string
	Reports []Report
}

// Pairs scores pairs of inputs: exact, whatever the index, since it compares
// the stored embeddings themselves.
func (e *Engine) Pairs(ctx context.Context, pairs [][2]Input) (*PairScores, error) {
	inputs := make([]Input, 0, 2*len(pairs))
	for _, p := range pairs {
		inputs = append(inputs, p[0], p[1])
	}
	res, err := e.Resolve(ctx, inputs)
	if err != nil {
		return nil, err
	}
	out := &PairScores{Scores: make([]PairScore, len(pairs)), Missing: res.Missing, Reports: res.Reports}
	for i := range pairs {
		a, b := res.Vectors[2*i], res.Vectors[2*i+1]
		if a == nil || b == nil {
			continue
		}
		cosine := eval.Cosine(a, b)
		out.Scores[i] = PairScore{Cosine: cosine, Score: e.Model.Score(cosine), Known: true}
	}
	return out, nil
}

// ScoreIDs scores pairs of ids into scores, which has their length, and tells
// missing every id that is not in the index, once a call. It is the inner step
// of a stream: one fetch a call, nothing kept.
func (e *Engine) ScoreIDs(ctx context.Context, pairs []eval.Pair, scores []PairScore, missing func(id string)) error {
	ids := make([]string, 0, 2*len(pairs))
	for _, p := range pairs {
		ids = append(ids, p.A, p.B)
	}
	stored, absent, err := e.fetch(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range absent {
		missing(id)
	}
	for i, p := range pairs {
		a, okA := stored[p.A]
		b, okB := stored[p.B]
		scores[i] = PairScore{}
		if okA && okB {
			cosine := eval.Cosine(a.Embedding, b.Embedding)
			scores[i] = PairScore{Cosine: cosine, Score: e.Model.Score(cosine), Known: true}
		}
	}
	return nil
}

// Evaluate compares cosines with labels. It is eval.Evaluate over the index:
// what repeats or lacks a label counts there as it does in training.
func (e *Engine) Evaluate(ctx context.Context, pairs []eval.Pair) (eval.Result, error) {
	ahead := lookahead{ctx: ctx, engine: e, pairs: pairs}
	result := eval.Evaluate(pairs, ahead.lookup)
	return result, ahead.err
}

// aheadPairs is how many pairs' videos one fetch brings: about 8 MB of
// embeddings at 256 numbers each.
const aheadPairs = 4096

// lookahead answers look-ups in the order of pairs from bulk fetches, keeping
// the embeddings of one stretch of pairs at a time.
type lookahead struct {
	ctx    context.Context
	engine *Engine
	pairs  []eval.Pair
	next   int // the first pair not fetched yet
	stored map[string][]float32
	known  map[string]bool // ids of the stretch, stored or not
	err    error
}

func (l *lookahead) lookup(id string) ([]float32, bool) {
	for l.err == nil && !l.known[id] {
		if l.next == len(l.pairs) {
			l.err = errs.New(errs.Internal, "look up %q: out of the order of the pairs", id)
			break
		}
		l.fetch()
	}
	v, ok := l.stored[id]
	return v, ok && l.err == nil
}

func (l *lookahead) fetch() {
	stretch := l.pairs[l.next:min(l.next+aheadPairs, len(l.pairs))]
	l.next += len(stretch)
	ids := make([]string, 0, 2*len(stretch))
	for _, p := range stretch {
		ids = append(ids, p.A, p.B)
	}
	records, _, err := l.engine.fetch(l.ctx, ids)
	if err != nil {
		l.err = fmt.Errorf("evaluate: %w", err)
		return
	}
	l.stored = make(map[string][]float32, len(records))
	for id, r := range records {
		l.stored[id] = r.Embedding
	}
	l.known = make(map[string]bool, len(ids))
	for _, id := range ids {
		l.known[id] = true
	}
}
