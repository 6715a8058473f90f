package trainer

import (
	"context"
	"slices"

	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// measureBatch is how many videos are embedded at once where nothing is
// learned: without a graph a batch costs little memory.
const measureBatch = 128

// rowsOf computes f for the videos of ids in evaluation mode, without a graph,
// and returns a row a video. p are the parameters of the network that f runs.
func (r *run) rowsOf(ctx context.Context, ids []string, p *nn.Params, f func(s *torch.Scope, in *model.Inputs) torch.Tensor) ([][]float32, error) {
	var rows [][]float32
	l := loader[*video.Batch]{workers: r.cfg.Loaders, ahead: r.cfg.Loaders + 1, load: func(items []int) (*video.Batch, error) {
		videos, err := r.corpus.read(pick(ids, items))
		if err != nil {
			return nil, err
		}
		return r.collator.Collate(videos)
	}}
	err := l.each(ctx, inOrder(len(ids), measureBatch), 0, func(_ int, _ []int, b *video.Batch) error {
		return r.engine.Do(ctx, func(s *torch.Scope) error {
			p.SetTraining(false)
			torch.NoGrad(func() { rows = append(rows, rowsOfTensor(f(s, r.inputs(s, b)))...) })
			return nil
		})
	})
	return rows, err
}

// rowsOfTensor copies (B, D) out, a slice a row.
func rowsOfTensor(t torch.Tensor) [][]float32 {
	return slices.Collect(slices.Chunk(t.Float32s(), int(t.Size(1))))
}

// heldOutSpearman ranks the held-out pairs by the cosines of what f makes of
// their videos.
func (r *run) heldOutSpearman(ctx context.Context, p *nn.Params, f func(s *torch.Scope, in *model.Inputs) torch.Tensor) (float64, error) {
	ids := pairIDs(r.corpus.split.HeldOut)
	rows, err := r.rowsOf(ctx, ids, p, f)
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
