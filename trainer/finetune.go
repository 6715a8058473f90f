package trainer

import (
	"context"
	"strings"

	"videosim/shared/model"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// finetuneLate makes late fusion of two pretrained towers and trains it on
// pairs. The caller frees the scope of the result.
func (r *run) finetuneLate(ctx context.Context, words *model.TextNet, frames *model.VideoNet, result *Result) (owned[*model.Late], error) {
	n, err := build(ctx, r, seedLate, fromLateHead, model.NewLate)
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
	encoder := func(name string) bool { return !net.Trainable(name) }
	hidden, frames := int64(r.model.Text.Hidden), int64(r.model.Video.FrameDim)
	head := func(s *torch.Scope, rows torch.Tensor) torch.Tensor {
		return net.Head(s, torch.Narrow(s, rows, 1, 0, hidden), torch.Narrow(s, rows, 1, hidden, frames)).Embedding
	}
	towers := func(s *torch.Scope, b *video.Batch) torch.Tensor {
		in := r.inputs(s, b)
		text := torch.AsType(s, net.Text.Forward(s, in), torch.Float32)
		return torch.Cat(s, 1, text, torch.AsType(s, net.Video.Forward(s, in), torch.Float32)) // (B,H+D)
	}
	if !r.fixedTowers(cfg) {
		n := pairNet[*video.Batch]{net.Params(), towers, head, cfg.Freeze == FreezeNone}
		return finish(ctx, r, pairStage(r, name, cfg, n, r.collate, encoder), result)
	}
	cache, err := r.cacheTowers(ctx, "towers-late", net.Params(), towers, wholeRows)
	if err != nil {
		return err
	}
	defer cache.Close()
	rows := func(s *torch.Scope, x towerRows) torch.Tensor { return x.tensor(s, r.engine.Device()) }
	n := pairNet[towerRows]{net.Params(), rows, head, false}
	return finish(ctx, r, pairStage(r, name, cfg, n, cache.rows, encoder), result)
}

// finetuneEarly makes early fusion of the pretrained cross-modal network and
// trains it on pairs. The caller frees the scope of the result.
func (r *run) finetuneEarly(ctx context.Context, cross *model.Early, result *Result) (owned[*model.EarlyFinetuned], error) {
	n, err := build(ctx, r, seedEarly, fromHead, model.NewEarlyFinetuned)
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

// trainEarly is trainLate for early fusion, whose frozen towers are the title's
// states and the projected frames; the cross-modal encoder learns.
func (r *run) trainEarly(ctx context.Context, net *model.EarlyFinetuned, cfg StageConfig, result *Result) error {
	const name = "finetune early"
	encoder := func(name string) bool { return strings.HasPrefix(name, "bert.") }
	head := func(s *torch.Scope, rows torch.Tensor) torch.Tensor {
		return net.Head(s, model.EarlyOutput{Hidden: rows}).Embedding
	}
	if !r.fixedTowers(cfg) {
		encode := func(s *torch.Scope, b *video.Batch) torch.Tensor {
			return torch.AsType(s, net.Encoder.Forward(s, r.inputs(s, b)), torch.Float32) // (B,2H)
		}
		n := pairNet[*video.Batch]{net.Params(), encode, head, true}
		return finish(ctx, r, pairStage(r, name, cfg, n, r.collate, encoder), result)
	}
	cache, err := r.cacheTowers(ctx, "towers-early", net.Params(), r.earlyTowers(net), realPositions(r.model.Text.Hidden))
	if err != nil {
		return err
	}
	defer cache.Close()
	join := func(s *torch.Scope, x towerStates) torch.Tensor {
		in, towers := x.inputs(s, r.engine.Device())
		return torch.AsType(s, net.Encoder.Join(s, in, towers).Hidden, torch.Float32)
	}
	n := pairNet[towerStates]{net.Params(), join, head, true}
	return finish(ctx, r, pairStage(r, name, cfg, n, cache.states, encoder), result)
}

// earlyTowers computes the states of title and frames before they meet, as one
// row a video: (B,(T+F)·H).
func (r *run) earlyTowers(net *model.EarlyFinetuned) func(s *torch.Scope, b *video.Batch) torch.Tensor {
	return func(s *torch.Scope, b *video.Batch) torch.Tensor {
		t := net.Encoder.Towers(s, r.inputs(s, b))
		both := torch.Cat(s, 1, torch.AsType(s, t.Text, torch.Float32), torch.AsType(s, t.Frames, torch.Float32))
		return torch.Reshape(s, both, int64(b.Len()), -1)
	}
}

// trainable says which parameters a finetuning stage may change.
func trainable(cfg StageConfig, head func(name string) bool) func(name string) bool {
	if cfg.Freeze == FreezeNone {
		return func(string) bool { return true }
	}
	return head
}

// fixedTowers reports whether the frozen encoders of a stage make the same of
// a video every time: they neither learn nor drop values at random.
func (r *run) fixedTowers(cfg StageConfig) bool {
	drops := r.model.Text.Dropout > 0 || r.model.Video.Dropout > 0
	return cfg.Freeze == FreezeTowers && (cfg.FrozenMode == FrozenEval || !drops)
}

// finish runs st and notes its result.
func finish[T any](ctx context.Context, r *run, st stage[T], result *Result) error {
	done, err := runStage(ctx, r, st)
	if err == nil {
		result.Stages = append(result.Stages, done)
	}
	return err
}

func (r *run) collate(ids []string) (*video.Batch, error) {
	videos, err := r.corpus.read(ids)
	if err != nil {
		return nil, err
	}
	return r.collator.Collate(videos)
}
