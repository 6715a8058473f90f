package trainer

import (
	"context"
	"fmt"
	"math"
	"strings"

	"videosim/shared/errs"
	"videosim/shared/nn"
	"videosim/shared/torch"
)

// A stage trains one network on one kind of batch, T: tagged videos in
// pretraining, pairs in finetuning.
type stage[T any] struct {
	name  string // as people and metrics see it
	cfg   StageConfig
	net   *nn.Params // its trainable parameters are marked
	items int        // how many an epoch has

	videosPerItem int
	load          func(items []int) (T, error)               // on the loader's goroutines
	loss          func(s *torch.Scope, batch T) stepLoss     // puts its network into training mode
	measure       func(ctx context.Context) (float64, error) // Spearman on the held-out pairs
	ids           func(items []int) []string                 // to name a batch in an error
}

// stepLoss is a step's loss; the parts are absent in pretraining.
type stepLoss struct {
	total                    torch.Tensor
	supervised, unsupervised torch.Tensor
}

// StageResult is where a stage ended: at its best epoch.
type StageResult struct {
	Name     string
	Epoch    int     // the best, from 1
	Spearman float64 // of that epoch, on the held-out pairs; NaN where undefined
}

// runStage trains st and leaves its network at the weights of the best epoch:
// the first one of the highest Spearman on the held-out pairs.
func runStage[T any](ctx context.Context, r *run, st stage[T]) (StageResult, error) {
	t, err := newStageRun(ctx, r, st)
	if err != nil {
		return StageResult{}, fmt.Errorf("%s: %w", st.name, err)
	}
	defer t.close()
	for epoch := 1; epoch <= st.cfg.Epochs; epoch++ {
		if err := t.epoch(ctx, epoch); err != nil {
			return StageResult{}, fmt.Errorf("%s, epoch %d: %w", st.name, epoch, err)
		}
	}
	if err := r.engine.Do(ctx, func(*torch.Scope) error { t.bestWeights.restore(st.net); return nil }); err != nil {
		return StageResult{}, fmt.Errorf("%s: restore epoch %d: %w", st.name, t.best.Epoch, err)
	}
	return t.best, nil
}

// stageRun is a stage in progress. Tensors are touched on the engine only.
type stageRun[T any] struct {
	*run
	stage[T]
	moments     *torch.Scope // owns the optimiser's state
	optimizer   *BertAdam
	display     *stageProgress
	step        int // taken so far
	best        StageResult
	bestWeights snapshot
	losses      lossSum // since the epoch began
	recent      lossSum // since the last line of metrics
}

func newStageRun[T any](ctx context.Context, r *run, st stage[T]) (*stageRun[T], error) {
	steps := inOrder(st.items, st.cfg.Batch).Len() * st.cfg.Epochs
	t := &stageRun[T]{run: r, stage: st, best: StageResult{Name: st.name, Spearman: math.NaN()}}
	err := r.engine.Do(ctx, func(*torch.Scope) error {
		t.moments = torch.NewScope()
		t.optimizer = NewBertAdam(t.moments, Schedule{Peak: st.cfg.LearningRate, Warmup: st.cfg.Warmup, Total: steps})
		for _, p := range st.net.All() {
			if p.Tensor.RequiresGrad() {
				t.optimizer.Add(p.Name, p.Tensor, Decays(p.Name))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.display = r.progress.stage(st.name, st.cfg.Epochs, steps)
	return t, nil
}

// close frees the moments. It must work after ctx has ended, too.
func (t *stageRun[T]) close() {
	t.display.done()
	err := t.engine.Do(context.Background(), func(*torch.Scope) error { t.moments.Close(); return nil })
	if err != nil {
		t.log.Error("free the optimiser", "stage", t.name, "error", err)
	}
}

func (t *stageRun[T]) epoch(ctx context.Context, epoch int) error {
	t.losses = lossSum{}
	batches := shuffled(t.items, t.stage.cfg.Batch, t.run.cfg.Seed, epoch)
	l := loader[T]{load: t.load, workers: t.run.cfg.Loaders, ahead: t.run.cfg.Loaders + 1}
	err := l.each(ctx, batches, 0, func(_ int, items []int, batch T) error {
		return t.train(ctx, epoch, items, batch)
	})
	if err != nil {
		return err
	}
	return t.judge(ctx, epoch)
}

// train takes one step.
func (t *stageRun[T]) train(ctx context.Context, epoch int, items []int, batch T) error {
	var values lossValues
	rate := 0.0
	err := t.engine.Do(ctx, func(s *torch.Scope) error {
		l := t.loss(s, batch)
		if values = l.read(); !values.finite() {
			return t.diverged(values, items)
		}
		l.total.Backward()
		rate = t.optimizer.LearningRate()
		t.optimizer.Step(s)
		return nil
	})
	if err != nil {
		return err
	}
	t.step++
	t.losses.add(values)
	t.recent.add(values)
	t.display.advance(epoch, len(items)*t.videosPerItem, t.recent.mean().total)
	if t.step%t.run.cfg.LogEvery != 0 {
		return nil
	}
	m := metric{Event: "step", Stage: t.name, Epoch: epoch, Step: t.step, LearningRate: &rate, Rate: finite(t.display.rate())}
	t.recent.mean().into(&m)
	t.recent = lossSum{}
	return t.metrics.write(m)
}

// diverged names the batch that broke the loss. Nothing was changed by it.
func (t *stageRun[T]) diverged(values lossValues, items []int) error {
	ids := t.ids(items)
	shown := ids[:min(len(ids), 20)]
	return errs.New(errs.Internal, "step %d: the loss is %v: lower the learning rate, or look at the batch's %d videos: %s",
		t.step+1, values.total, len(ids), strings.Join(shown, " "))
}

// judge measures the epoch and keeps its weights if no earlier one was as good.
func (t *stageRun[T]) judge(ctx context.Context, epoch int) error {
	spearman, err := t.measure(ctx)
	if err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	// An undefined coefficient ranks lowest, so that some epoch is always kept.
	best := t.bestWeights == nil || spearman > t.best.Spearman || math.IsNaN(t.best.Spearman) && !math.IsNaN(spearman)
	if best {
		t.best.Epoch, t.best.Spearman = epoch, spearman
		err := t.engine.Do(ctx, func(*torch.Scope) error { t.bestWeights = takeSnapshot(t.net); return nil })
		if err != nil {
			return fmt.Errorf("keep the weights: %w", err)
		}
	}
	mean := t.losses.mean()
	t.display.epochDone(epoch, mean.total, spearman, best)
	m := metric{Event: "epoch", Stage: t.name, Epoch: epoch, Step: t.step, Spearman: finite(spearman), Best: best, Rate: finite(t.display.rate())}
	mean.into(&m)
	return t.metrics.write(m)
}

// lossValues are a step's losses, read back from the device.
type lossValues struct {
	total, supervised, unsupervised float64
	parts                           bool
}

func (l stepLoss) read() lossValues {
	v := lossValues{total: l.total.Item(), parts: l.supervised.Defined()}
	if v.parts {
		v.supervised, v.unsupervised = l.supervised.Item(), l.unsupervised.Item()
	}
	return v
}

func (v lossValues) finite() bool { return !math.IsNaN(v.total) && !math.IsInf(v.total, 0) }

// into fills the loss fields of a line of metrics.
func (v lossValues) into(m *metric) {
	m.Loss = finite(v.total)
	if v.parts {
		m.Supervised, m.Unsupervised = finite(v.supervised), finite(v.unsupervised)
	}
}

// lossSum adds up losses over steps.
type lossSum struct {
	sum   lossValues
	steps int
}

func (l *lossSum) add(v lossValues) {
	l.sum.total += v.total
	l.sum.supervised += v.supervised
	l.sum.unsupervised += v.unsupervised
	l.sum.parts = v.parts
	l.steps++
}

func (l *lossSum) mean() lossValues {
	n := float64(max(l.steps, 1))
	return lossValues{l.sum.total / n, l.sum.supervised / n, l.sum.unsupervised / n, l.sum.parts}
}
