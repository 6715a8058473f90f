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
	learn         func(s *torch.Scope, batch T) lossValues   // forward and backward; the loss of all processes
	partial       func(name string) bool                     // parameters of whose gradient every process has a part
	measure       func(ctx context.Context) (float64, error) // Spearman on the held-out pairs
	ids           func(items []int) []string                 // to name a batch in an error
}

// StageResult is where a stage ended: at its best epoch.
type StageResult struct {
	Name     string
	Epoch    int     // the best, from 1
	Spearman float64 // of that epoch, on the held-out pairs; NaN where undefined
}

// runStage trains st and leaves its network at the weights of the best epoch:
// the first one of the highest Spearman on the held-out pairs. A stage that a
// run before this one has finished is only loaded, one that it has begun goes
// on where its checkpoint was made.
func runStage[T any](ctx context.Context, r *run, st stage[T]) (StageResult, error) {
	if done, ok, err := r.loadFinished(ctx, st.name, st.net); ok || err != nil {
		return done, err
	}
	t, err := newStageRun(ctx, r, st)
	if err != nil {
		return StageResult{}, fmt.Errorf("%s: %w", st.name, err)
	}
	defer t.close()
	for t.state.Epoch <= st.cfg.Epochs {
		if err := t.epoch(ctx); err != nil {
			return StageResult{}, fmt.Errorf("%s, epoch %d: %w", st.name, t.state.Epoch, err)
		}
		t.state.nextEpoch()
	}
	best, err := t.finish(ctx)
	if err != nil {
		return best, fmt.Errorf("%s: restore epoch %d: %w", st.name, best.Epoch, err)
	}
	return best, nil
}

// stageRun is a stage in progress. Tensors are touched on the engine only.
type stageRun[T any] struct {
	*run
	stage[T]
	plan      shareOf      // of any epoch: all have the same number of batches
	moments   *torch.Scope // owns the optimiser's state
	optimizer *BertAdam
	display   *stageProgress
	state     stageState
}

func newStageRun[T any](ctx context.Context, r *run, st stage[T]) (*stageRun[T], error) {
	if st.items < r.world.size() {
		return nil, errs.New(errs.Invalid, "%d items for %d processes: expected at least one each", st.items, r.world.size())
	}
	t := &stageRun[T]{run: r, stage: st, state: newStageState(st.name)}
	t.plan = t.shareOf(inOrder(st.items, st.cfg.Batch))
	steps := t.plan.Len() * st.cfg.Epochs
	err := r.engine.Do(ctx, func(*torch.Scope) error {
		t.moments = torch.NewScope()
		t.optimizer = NewBertAdam(t.moments, Schedule{Peak: st.cfg.LearningRate, Warmup: st.cfg.Warmup, Total: steps})
		for _, p := range st.net.All() {
			if p.Tensor.RequiresGrad() {
				t.optimizer.Add(p.Name, p.Tensor, Decays(p.Name))
			}
		}
		return t.resume()
	})
	if err != nil {
		return nil, err
	}
	t.display = r.progress.stage(st.name, st.cfg.Epochs, steps, t.state.Step)
	return t, nil
}

func (r *run) shareOf(p plan) shareOf { return shareOf{p, r.world.rank(), r.world.size()} }

// close frees the moments. It must work after ctx has ended, too.
func (t *stageRun[T]) close() {
	t.display.done()
	err := t.engine.Do(context.Background(), func(*torch.Scope) error { t.moments.Close(); return nil })
	if err != nil {
		t.log.Error("free the optimiser", "stage", t.name, "error", err)
	}
}

// epoch trains on what is left of the epoch and judges the outcome.
func (t *stageRun[T]) epoch(ctx context.Context) error {
	t.plan = t.shareOf(shuffled(t.items, t.stage.cfg.Batch, t.run.cfg.Seed, t.state.Epoch))
	l := loader[T]{load: t.load, workers: t.run.cfg.Loaders, ahead: t.run.cfg.Loaders + 1}
	// The context ends an epoch between two steps only, where all processes
	// agree to stop and a checkpoint can be made.
	err := l.each(context.WithoutCancel(ctx), t.plan, t.state.Batch, func(i int, items []int, batch T) error {
		return t.train(ctx, i, items, batch)
	})
	if err != nil {
		return err
	}
	if err := t.save(); err != nil {
		return err
	}
	return t.judge(ctx, l.waitShare())
}

// train takes one step, then a checkpoint if it is time for one or to stop.
func (t *stageRun[T]) train(ctx context.Context, i int, items []int, batch T) error {
	var values lossValues
	var rate float64
	var stop, save, diverged bool
	err := t.engine.Do(context.WithoutCancel(ctx), func(s *torch.Scope) error {
		before := torch.RNGState(t.engine.Device())
		values = t.learn(s, batch)
		if !values.finite() {
			diverged = true
			torch.SetRNGState(t.engine.Device(), before)
			return t.diverged(values, items)
		}
		t.world.sumGradients(s, t.net, t.partial)
		rate = t.optimizer.LearningRate()
		t.optimizer.Step(s)
		stop, save = t.agree(ctx.Err() != nil, t.checkpoints.due())
		return nil
	})
	if diverged {
		return t.keepLastGood(err)
	}
	if err != nil {
		return err
	}
	t.state.Batch = i + 1
	if err := t.note(i, values, rate); err != nil {
		return err
	}
	if stop || save {
		if err := t.save(); err != nil {
			return err
		}
	}
	if stop {
		t.log.Info("stopped; --resume goes on from here", "stage", t.name, "step", t.state.Step)
		return errs.New(errs.Unavailable, "step %d: stopped: %w", t.state.Step, context.Canceled)
	}
	return nil
}

// agree tells whether any process wants to stop, and whether the main one
// wants a checkpoint.
func (t *stageRun[T]) agree(stop, save bool) (bool, bool) {
	number := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	flags := t.world.sum(number(stop), number(save && t.world.main()))
	return flags[0] > 0, flags[1] > 0
}

// note counts a step and shows it.
func (t *stageRun[T]) note(i int, values lossValues, rate float64) error {
	t.state.Step++
	t.state.Losses.add(values)
	t.state.Recent.add(values)
	t.display.advance(t.state.Epoch, len(t.plan.whole(i))*t.videosPerItem, t.state.Recent.mean().Total)
	if t.state.Step%t.run.cfg.LogEvery != 0 {
		return nil
	}
	m := metric{Event: "step", Stage: t.name, Epoch: t.state.Epoch, Step: t.state.Step, LearningRate: &rate, Rate: finite(t.display.rate())}
	t.state.Recent.mean().into(&m)
	t.state.Recent = lossSum{}
	return t.record(m)
}

// diverged names the batch that broke the loss. Nothing was changed by it.
func (t *stageRun[T]) diverged(values lossValues, items []int) error {
	ids := t.ids(items)
	shown := ids[:min(len(ids), 20)]
	return errs.New(errs.Internal, "step %d: the loss is %v: lower the learning rate, or look at the batch's %d videos: %s",
		t.state.Step+1, values.Total, len(ids), strings.Join(shown, " "))
}

// keepLastGood writes a checkpoint of the state before a step that diverged.
func (t *stageRun[T]) keepLastGood(failure error) error {
	if err := t.save(); err != nil {
		t.log.Error("keep the last good state", "stage", t.name, "error", err)
	}
	return failure
}

// judge measures the epoch and keeps its weights if no earlier one was as good.
// wait is the share of the epoch in which the next batch was not ready.
func (t *stageRun[T]) judge(ctx context.Context, wait float64) error {
	spearman, err := t.measure(ctx)
	if err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	// An undefined coefficient ranks lowest, so that some epoch is always kept.
	best := t.state.Best.Epoch == 0 || spearman > t.state.Best.spearman() || math.IsNaN(t.state.Best.spearman()) && !math.IsNaN(spearman)
	if best {
		t.state.Best = bestEpoch{t.state.Epoch, finite(spearman)}
		if err := t.saveBest(ctx); err != nil {
			return err
		}
	}
	mean := t.state.Losses.mean()
	t.display.epochDone(t.state.Epoch, mean.Total, spearman, best)
	m := metric{Event: "epoch", Stage: t.name, Epoch: t.state.Epoch, Step: t.state.Step, Spearman: finite(spearman), Best: best, Rate: finite(t.display.rate()), Wait: finite(wait)}
	mean.into(&m)
	return t.record(m)
}

// record writes a line of metrics, in the main process.
func (r *run) record(m metric) error {
	if !r.world.main() {
		return nil
	}
	return r.metrics.write(m)
}
