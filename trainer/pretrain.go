package trainer

import (
	"context"
	"fmt"

	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// owned is a network and the scope that its tensors live in.
type owned[N any] struct {
	net   N
	scope *torch.Scope
}

// tagNet is a network that is pretrained on tags.
type tagNet interface {
	Params() *nn.Params
	Forward(s *torch.Scope, in *model.Inputs) torch.Tensor // hidden state of a video
	Logits(s *torch.Scope, hidden torch.Tensor) torch.Tensor
}

// tagStage is the pretraining of one network.
type tagStage[N tagNet] struct {
	name  string
	seed  uint64 // sets this stage's random numbers apart from the others'
	cfg   StageConfig
	build func(model.Config, *nn.Params) N
}

// tagBatch is B videos with their tags.
type tagBatch struct {
	videos *video.Batch
	labels []float32 // B×tags, 1 where the video has the tag
}

// pretrain trains a new network on the tags of all videos that are not held
// out. The caller frees the scope of the result.
func pretrain[N tagNet](ctx context.Context, r *run, t tagStage[N], result *Result) (owned[N], error) {
	n, err := build(ctx, r, t.seed, t.build)
	if err != nil {
		return n, fmt.Errorf("%s: %w", t.name, err)
	}
	err = r.engine.Do(ctx, func(*torch.Scope) error {
		n.net.Params().SetTrainable(func(string) bool { return true })
		return nil
	})
	if err != nil {
		return n, err
	}
	st := stage[tagBatch]{
		name: t.name, cfg: t.cfg, net: n.net.Params(), items: r.corpus.pretrainCount(), videosPerItem: 1,
		load: r.tagBatch,
		loss: func(s *torch.Scope, b tagBatch) stepLoss {
			n.net.Params().SetTraining(true)
			logits := n.net.Logits(s, n.net.Forward(s, r.inputs(s, b.videos)))
			labels := torch.To(s, torch.FromFloat32s(s, b.labels, logits.Shape()...), torch.Float32, logits.Device())
			return stepLoss{total: TagLoss(s, torch.Sigmoid(s, logits), labels)}
		},
		measure: func(ctx context.Context) (float64, error) {
			return r.heldOutSpearman(ctx, n.net.Params(), n.net.Forward)
		},
		ids: r.corpus.pretrainIDs,
	}
	done, err := runStage(ctx, r, st)
	if err != nil {
		r.free(n.scope)
		return n, err
	}
	result.Stages = append(result.Stages, done)
	return n, nil
}

// build makes a network with new values in a scope of its own. Every stage
// seeds the engine anew, so that its outcome does not depend on how many
// random numbers earlier stages drew.
func build[N any](ctx context.Context, r *run, seed uint64, make func(model.Config, *nn.Params) N) (owned[N], error) {
	var n owned[N]
	err := r.engine.Do(ctx, func(*torch.Scope) error {
		torch.Seed(r.engine.Device(), r.cfg.Seed<<8|seed)
		n.scope = torch.NewScope()
		n.net = make(r.model, nn.NewParams(n.scope, nn.Options{Device: r.engine.Device()}))
		return nil
	})
	return n, err
}

// free closes a scope on the engine, whatever became of the run's context.
func (r *run) free(s *torch.Scope) {
	err := r.engine.Do(context.Background(), func(*torch.Scope) error { s.Close(); return nil })
	if err != nil {
		r.log.Error("free a network", "error", err)
	}
}

func (r *run) inputs(s *torch.Scope, b *video.Batch) *model.Inputs {
	return model.NewInputs(s, b, r.engine.Device(), torch.Float32)
}

func (r *run) tagBatch(items []int) (tagBatch, error) {
	videos, err := r.corpus.pretrainVideos(items)
	if err != nil {
		return tagBatch{}, err
	}
	b, err := r.collator.Collate(videos)
	if err != nil {
		return tagBatch{}, err
	}
	tags := r.corpus.folder.Tags
	labels := make([]float32, len(videos)*tags.Len())
	for i, v := range videos {
		row := labels[i*tags.Len():]
		for _, column := range tags.Columns(v.TagIDs) {
			row[column] = 1
		}
	}
	return tagBatch{b, labels}, nil
}

func pick[T any](all []T, items []int) []T {
	out := make([]T, len(items))
	for i, item := range items {
		out[i] = all[item]
	}
	return out
}
