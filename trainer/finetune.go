package trainer

import (
	"context"
	"fmt"

	"videosim/shared/model"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// pairBatch is B pairs: pair i is video i of either side.
type pairBatch struct {
	first, second *video.Batch
	labels        []float32
}

// finetuneLate makes late fusion of two pretrained towers and trains it on
// pairs. The caller frees the scope of the result.
func (r *run) finetuneLate(ctx context.Context, words *model.TextNet, frames *model.VideoNet, result *Result) (owned[*model.Late], error) {
	n, err := build(ctx, r, seedLate, model.NewLate)
	if err != nil {
		return n, err
	}
	cfg := r.cfg.FinetuneLate
	err = r.engine.Do(ctx, func(*torch.Scope) error {
		p := n.net.Params()
		if err := p.CopyFrom("text_model.", words.Params()); err != nil {
			return err
		}
		p.SetTrainable(trainable(cfg, n.net.Trainable))
		return p.CopyFrom("video_model.", frames.Params())
	})
	if err == nil {
		err = r.trainLate(ctx, n.net, cfg, result)
	}
	if err != nil {
		r.free(n.scope)
	}
	return n, err
}

// trainLate runs the stage on whole videos, or, where the towers can give
// nothing new from one epoch to the next, on their outputs, computed once.
func (r *run) trainLate(ctx context.Context, net *model.Late, cfg StageConfig, result *Result) error {
	const name = "finetune late"
	if cfg.Freeze == FreezeTowers && cfg.FrozenMode == FrozenEval {
		return r.trainLateHead(ctx, name, net, cfg, result)
	}
	embed := func(s *torch.Scope, in *model.Inputs) torch.Tensor { return net.Forward(s, in).Embedding }
	st := r.pairStage(name, cfg)
	st.net = net.Params()
	st.loss = func(s *torch.Scope, b pairBatch) stepLoss {
		net.Params().SetTraining(true)
		return r.pairLoss(s, b.labels, embed(s, r.inputs(s, b.first)), embed(s, r.inputs(s, b.second)))
	}
	st.measure = func(ctx context.Context) (float64, error) {
		return r.heldOutSpearman(ctx, net.Params(), embed)
	}
	return finish(ctx, r, st, result)
}

// finetuneEarly makes early fusion of the pretrained cross-modal network and
// trains it on pairs. The caller frees the scope of the result.
func (r *run) finetuneEarly(ctx context.Context, cross *model.Early, result *Result) (owned[*model.EarlyFinetuned], error) {
	n, err := build(ctx, r, seedEarly, model.NewEarlyFinetuned)
	if err != nil {
		return n, err
	}
	cfg := r.cfg.FinetuneEarly
	err = r.engine.Do(ctx, func(*torch.Scope) error {
		n.net.Params().SetTrainable(trainable(cfg, n.net.Trainable))
		return n.net.Params().CopyFrom("bert.", cross.Params())
	})
	if err == nil {
		err = r.trainEarly(ctx, n.net, cfg, result)
	}
	if err != nil {
		r.free(n.scope)
	}
	return n, err
}

func (r *run) trainEarly(ctx context.Context, net *model.EarlyFinetuned, cfg StageConfig, result *Result) error {
	embed := func(s *torch.Scope, in *model.Inputs) torch.Tensor { return net.Forward(s, in).Embedding }
	learn := embed
	if cfg.Freeze == FreezeTowers && cfg.FrozenMode == FrozenEval {
		learn = func(s *torch.Scope, in *model.Inputs) torch.Tensor {
			net.Params().SetTraining(false)
			towers := net.Encoder.Towers(s, in)
			net.Params().SetTraining(true)
			return net.Head(s, net.Encoder.Join(s, in, towers)).Embedding
		}
	}
	st := r.pairStage("finetune early", cfg)
	st.net = net.Params()
	st.loss = func(s *torch.Scope, b pairBatch) stepLoss {
		net.Params().SetTraining(true)
		return r.pairLoss(s, b.labels, learn(s, r.inputs(s, b.first)), learn(s, r.inputs(s, b.second)))
	}
	st.measure = func(ctx context.Context) (float64, error) {
		return r.heldOutSpearman(ctx, net.Params(), embed)
	}
	return finish(ctx, r, st, result)
}

// trainable says which parameters a finetuning stage may change.
func trainable(cfg StageConfig, head func(name string) bool) func(name string) bool {
	if cfg.Freeze == FreezeNone {
		return func(string) bool { return true }
	}
	return head
}

// pairStage is what finetuning on whole videos has in common.
func (r *run) pairStage(name string, cfg StageConfig) stage[pairBatch] {
	pairs := r.corpus.split.Train
	return stage[pairBatch]{
		name: name, cfg: cfg, items: len(pairs), videosPerItem: 2,
		load: r.pairBatch,
		ids:  r.pairIDs,
	}
}

// finish runs st and notes its result.
func finish[T any](ctx context.Context, r *run, st stage[T], result *Result) error {
	done, err := runStage(ctx, r, st)
	if err == nil {
		result.Stages = append(result.Stages, done)
	}
	return err
}

func (r *run) pairIDs(items []int) []string {
	var ids []string
	for _, p := range pick(r.corpus.split.Train, items) {
		ids = append(ids, p.A, p.B)
	}
	return ids
}

func (r *run) pairBatch(items []int) (b pairBatch, err error) {
	pairs := pick(r.corpus.split.Train, items)
	first, second := make([]string, len(pairs)), make([]string, len(pairs))
	b.labels = make([]float32, len(pairs))
	for i, p := range pairs {
		first[i], second[i], b.labels[i] = p.A, p.B, float32(p.Label)
	}
	if b.first, err = r.collate(first); err != nil {
		return b, err
	}
	b.second, err = r.collate(second)
	return b, err
}

func (r *run) collate(ids []string) (*video.Batch, error) {
	videos, err := r.corpus.read(ids)
	if err != nil {
		return nil, err
	}
	return r.collator.Collate(videos)
}

func (r *run) pairLoss(s *torch.Scope, labels []float32, embedding1, embedding2 torch.Tensor) stepLoss {
	y := torch.To(s, torch.FromFloat32s(s, labels, int64(len(labels))), torch.Float32, r.engine.Device())
	l := PairLoss(s, embedding1, embedding2, y)
	return stepLoss{
		total:        l.Total,
		supervised:   l.Supervised,
		unsupervised: torch.Add(s, l.Unsupervised1, l.Unsupervised2),
	}
}

// stateBatch is B pairs by the outputs of late fusion's towers: (B, H+D), text
// before video.
type stateBatch struct {
	first, second []float32
	labels        []float32
}

// trainLateHead is trainLate on tower outputs.
func (r *run) trainLateHead(ctx context.Context, name string, net *model.Late, cfg StageConfig, result *Result) error {
	states, err := r.towerStates(ctx, net)
	if err != nil {
		return fmt.Errorf("%s: compute the towers: %w", name, err)
	}
	width := r.model.Text.Hidden + r.model.Video.FrameDim
	embed := func(s *torch.Scope, rows []float32) torch.Tensor {
		both := torch.To(s, torch.FromFloat32s(s, rows, int64(len(rows)/width), int64(width)), torch.Float32, r.engine.Device())
		h, d := int64(r.model.Text.Hidden), int64(r.model.Video.FrameDim)
		return net.Head(s, torch.Narrow(s, both, 1, 0, h), torch.Narrow(s, both, 1, h, d)).Embedding
	}
	heldOut := pairIDs(r.corpus.split.HeldOut)
	return finish(ctx, r, stage[stateBatch]{
		name: name, cfg: cfg, net: net.Params(), items: len(r.corpus.split.Train), videosPerItem: 2,
		load: func(items []int) (stateBatch, error) { return r.stateBatch(states, items), nil },
		loss: func(s *torch.Scope, b stateBatch) stepLoss {
			net.Params().SetTraining(true)
			return r.pairLoss(s, b.labels, embed(s, b.first), embed(s, b.second))
		},
		measure: func(ctx context.Context) (spearman float64, err error) {
			err = r.engine.Do(ctx, func(s *torch.Scope) error {
				net.Params().SetTraining(false)
				torch.NoGrad(func() {
					rows := rowsOfTensor(embed(s, states.of(heldOut)))
					spearman = scorePairs(r.corpus.split.HeldOut, heldOut, rows).Spearman
				})
				return nil
			})
			return spearman, err
		},
		ids: r.pairIDs,
	}, result)
}

// states are the tower outputs of videos, by id.
type states map[string][]float32

// of joins the rows of ids.
func (x states) of(ids []string) []float32 {
	var out []float32
	for _, id := range ids {
		out = append(out, x[id]...)
	}
	return out
}

// towerStates computes the towers for every video of a pair: 4·(H+D) bytes
// each.
func (r *run) towerStates(ctx context.Context, net *model.Late) (states, error) {
	ids := append(pairIDs(r.corpus.split.Train), pairIDs(r.corpus.split.HeldOut)...)
	rows, err := r.rowsOf(ctx, ids, net.Params(), func(s *torch.Scope, in *model.Inputs) torch.Tensor {
		return torch.Cat(s, 1, net.Text.Forward(s, in), net.Video.Forward(s, in))
	})
	if err != nil {
		return nil, err
	}
	out := make(states, len(ids))
	for i, id := range ids {
		out[id] = rows[i]
	}
	return out, nil
}

func (r *run) stateBatch(x states, items []int) stateBatch {
	var b stateBatch
	for _, p := range pick(r.corpus.split.Train, items) {
		b.first = append(b.first, x[p.A]...)
		b.second = append(b.second, x[p.B]...)
		b.labels = append(b.labels, float32(p.Label))
	}
	return b
}
