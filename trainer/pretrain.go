package trainer

import (
	"context"
	"fmt"
	"iter"
	"slices"

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

// network is any of the networks that a run trains.
type network interface{ Params() *nn.Params }

// tagNet is a network that is pretrained on tags.
type tagNet interface {
	network
	Forward(s *torch.Scope, in *model.Inputs) torch.Tensor // hidden state of a video
	Logits(s *torch.Scope, hidden torch.Tensor) torch.Tensor
}

// tagStage is the pretraining of one network.
type tagStage[N tagNet] struct {
	name  string
	seed  uint64 // sets this stage's random numbers apart from the others'
	cfg   StageConfig
	from  origin // of its first values, in a bundle that training starts from
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
	n, err := build(ctx, r, t.seed, t.from, t.build)
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
	st := stage[[]tagBatch]{
		name: t.name, cfg: t.cfg, net: n.net.Params(), items: r.corpus.pretrainCount(), videosPerItem: 1,
		load:    r.tagBatches,
		learn:   func(s *torch.Scope, parts []tagBatch) lossValues { return learnTags(r, n.net, parts) },
		partial: func(string) bool { return true },
		measure: func(ctx context.Context) (float64, error) {
			return heldOutSpearman(ctx, r, n.net.Params(), r.collate, func(s *torch.Scope, b *video.Batch) torch.Tensor {
				return n.net.Forward(s, r.inputs(s, b))
			})
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

// learnTags adds the gradients of this process's share of a batch to the
// network's, part by part: the loss is a sum over videos, so parts add up to
// the whole.
func learnTags[N tagNet](r *run, net N, parts []tagBatch) lossValues {
	net.Params().SetTraining(true)
	total := 0.0
	for _, b := range parts {
		s := torch.NewScope()
		var logits torch.Tensor
		r.mixed(func() { logits = net.Logits(s, net.Forward(s, r.inputs(s, b.videos))) })
		probabilities := torch.Sigmoid(s, torch.AsType(s, logits, torch.Float32))
		labels := torch.To(s, torch.FromFloat32s(s, b.labels, logits.Shape()...), torch.Float32, r.engine.Device())
		loss := TagLoss(s, probabilities, labels)
		loss.Backward()
		total += loss.Item()
		s.Close()
	}
	return lossValues{Total: r.world.sum(total)[0]}
}

// build makes a network with new values in a scope of its own, or with those
// of the bundle that training starts from. Every stage seeds the engine anew,
// so that its outcome does not depend on how many random numbers earlier
// stages drew; from then on every process draws its own.
func build[N network](ctx context.Context, r *run, seed uint64, from origin, make func(model.Config, *nn.Params) N) (owned[N], error) {
	var n owned[N]
	err := r.engine.Do(ctx, func(*torch.Scope) error {
		torch.Seed(r.engine.Device(), r.cfg.Seed<<8|seed)
		n.scope = torch.NewScope()
		n.net = make(r.model, nn.NewParams(n.scope, nn.Options{Device: r.engine.Device()}))
		if err := r.start.into(n.net.Params(), from); err != nil {
			return err
		}
		if rank := uint64(r.world.rank()); rank > 0 {
			torch.Seed(r.engine.Device(), r.cfg.Seed<<8|seed|rank<<40)
		}
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

// mixed runs a forward pass in the run's precision: in bf16 matrix products
// are computed in bfloat16, weights, norms and losses stay in Float32.
func (r *run) mixed(f func()) {
	if r.engine.DType() == torch.Float32 {
		f()
		return
	}
	torch.Autocast(r.engine.Device(), r.engine.DType(), f)
}

func (r *run) inputs(s *torch.Scope, b *video.Batch) *model.Inputs {
	return model.NewInputs(s, b, r.engine.Device(), torch.Float32)
}

// tagBatches makes the parts of one batch.
func (r *run) tagBatches(items []int) ([]tagBatch, error) {
	var out []tagBatch
	for part := range r.parts(items) {
		b, err := r.tagBatch(part)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// parts cuts a batch into what goes through a network at once.
func (r *run) parts(items []int) iter.Seq[[]int] {
	if r.cfg.MicroBatch == 0 {
		return slices.Chunk(items, max(len(items), 1))
	}
	return slices.Chunk(items, r.cfg.MicroBatch)
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
