package models

import (
	"context"
	"fmt"
	"os"
	"slices"

	"videosim/shared/eval"
	"videosim/shared/vecdb"
)

// maxLabels bounds the judged pairs of a promotion; the challenge has 67,899.
const maxLabels = 1_000_000

// compareSpearman is the Spearman correlation of two models with the labels of
// a file, on the pairs whose videos both models know.
func compareSpearman(ctx context.Context, labels string, before, now *vecdb.Milvus) (rhoBefore, rhoNow float64, pairs int, err error) {
	f, err := os.Open(labels)
	if err != nil {
		return 0, 0, 0, err
	}
	defer f.Close()
	all, err := eval.ReadPairs(f, eval.PairLimits{MaxPairs: maxLabels})
	if err != nil {
		return 0, 0, 0, fmt.Errorf("%s: %w", labels, err)
	}
	ids := idsOf(all)
	old, err := embeddings(ctx, before, ids)
	if err != nil {
		return 0, 0, 0, err
	}
	fresh, err := embeddings(ctx, now, ids)
	if err != nil {
		return 0, 0, 0, err
	}
	known := func(id string) bool { return old[id] != nil && fresh[id] != nil }
	all = slices.DeleteFunc(all, func(p eval.Pair) bool { return !known(p.A) || !known(p.B) })
	a, b := eval.Evaluate(all, lookup(old)), eval.Evaluate(all, lookup(fresh))
	return a.Spearman, b.Spearman, b.Pairs, nil
}

func lookup(m map[string][]float32) func(string) ([]float32, bool) {
	return func(id string) ([]float32, bool) { v, ok := m[id]; return v, ok }
}

func idsOf(pairs []eval.Pair) []string {
	var ids []string
	for _, p := range pairs {
		ids = append(ids, p.A, p.B)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func embeddings(ctx context.Context, index *vecdb.Milvus, ids []string) (map[string][]float32, error) {
	records, err := index.Fetch(ctx, ids)
	if err != nil {
		return nil, err
	}
	all := make(map[string][]float32, len(records))
	for _, r := range records {
		all[r.ID] = r.Embedding
	}
	return all, nil
}
