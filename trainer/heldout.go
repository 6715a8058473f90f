package trainer

import (
	"context"
	"slices"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/nn"
	"videosim/shared/torch"
)

// measureBatch is how many videos are embedded at once where nothing is
// learned: without a graph a batch costs little memory.
const measureBatch = 128

// eachBatch collects the videos of ids in batches and calls use with each, on
// the engine, in evaluation mode and without a graph. p are the parameters of
// the network that use runs.
func eachBatch[X any](ctx context.Context, r *run, ids []string, p *nn.Params, collect func(ids []string) (X, error), use func(s *torch.Scope, x X) error) error {
	l := loader[X]{workers: r.cfg.Loaders, ahead: r.cfg.Loaders + 1, load: func(items []int) (X, error) { return collect(pick(ids, items)) }}
	return l.each(ctx, inOrder(len(ids), measureBatch), 0, func(_ int, _ []int, x X) error {
		return r.engine.Do(ctx, func(s *torch.Scope) (err error) {
			p.SetTraining(false)
			torch.NoGrad(func() { r.mixed(func() { err = use(s, x) }) })
			return err
		})
	})
}

// rowsOf computes f for the videos of ids and returns a row a video. The
// processes share the work and all get the whole.
func rowsOf[X any](ctx context.Context, r *run, ids []string, p *nn.Params, collect func(ids []string) (X, error), f func(s *torch.Scope, x X) torch.Tensor) ([][]float32, error) {
	from, to := share(len(ids), r.world.rank(), r.world.size())
	var rows [][]float32
	err := eachBatch(ctx, r, ids[from:to], p, collect, func(s *torch.Scope, x X) error {
		rows = append(rows, rowsOfTensor(f(s, x))...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.gatherRows(ctx, rows, len(ids))
}

// gatherRows joins the rows of all processes' shares.
func (r *run) gatherRows(ctx context.Context, rows [][]float32, total int) (all [][]float32, err error) {
	if r.world.size() == 1 {
		return rows, nil
	}
	if len(rows) == 0 {
		return nil, errs.New(errs.Invalid, "%d videos for %d processes: expected at least one each", total, r.world.size())
	}
	err = r.engine.Do(ctx, func(s *torch.Scope) error {
		flat := slices.Concat(rows...)
		local := torch.FromFloat32s(s, flat, int64(len(rows)), int64(len(rows[0])))
		all = rowsOfTensor(r.world.gather(s, torch.To(s, local, torch.Float32, r.engine.Device()), total))
		return nil
	})
	return all, err
}

// rowsOfTensor copies (B, D) out, a slice a row.
func rowsOfTensor(t torch.Tensor) [][]float32 {
	return slices.Collect(slices.Chunk(t.Float32s(), int(t.Size(1))))
}

// heldOutSpearman ranks the held-out pairs by the cosines of what f makes of
// their videos.
func heldOutSpearman[X any](ctx context.Context, r *run, p *nn.Params, collect func(ids []string) (X, error), f func(s *torch.Scope, x X) torch.Tensor) (float64, error) {
	ids := pairIDs(r.corpus.split.HeldOut)
	rows, err := rowsOf(ctx, r, ids, p, collect, f)
	if err != nil {
		return 0, err
	}
	return scorePairs(r.corpus.split.HeldOut, ids, rows).Spearman, nil
}

// scorePairs evaluates pairs on the embeddings of ids.
func scorePairs(pairs []eval.Pair, ids []string, rows [][]float32) eval.Result {
	at := make(map[string][]float32, len(ids))
	for i, id := range ids {
		at[id] = rows[i]
	}
	return eval.Evaluate(pairs, func(id string) ([]float32, bool) { e, ok := at[id]; return e, ok })
}
