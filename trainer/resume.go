package trainer

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/nn"
	"videosim/shared/torch"
)

// stageState is where a stage stands, besides its tensors. It is the header of
// the stage's checkpoint.
type stageState struct {
	Stage   string         `json:"stage"`
	Epoch   int            `json:"epoch"` // in progress, from 1
	Batch   int            `json:"batch"` // how many of its batches are done
	Step    int            `json:"step"`  // taken in the whole stage
	Best    bestEpoch      `json:"best"`
	Losses  lossSum        `json:"losses"`      // since the epoch began
	Recent  lossSum        `json:"recent"`      // since the last line of metrics
	Slots   map[string]int `json:"adam_steps"`  // steps of every parameter's moments
	Metrics int64          `json:"metrics_end"` // bytes of metrics.jsonl that belong to it
}

type bestEpoch struct {
	Epoch    int      `json:"epoch"` // 0: none yet
	Spearman *float64 `json:"spearman,omitempty"`
}

func (b bestEpoch) spearman() float64 {
	if b.Spearman == nil {
		return math.NaN()
	}
	return *b.Spearman
}

func newStageState(name string) stageState { return stageState{Stage: name, Epoch: 1} }

func (x *stageState) nextEpoch() {
	x.Epoch++
	x.Batch, x.Losses = 0, lossSum{}
}

// Names of the tensors in a checkpoint.
const (
	weightPrefix = "weights/"
	meanPrefix   = "mean/"
	squarePrefix = "square/"
	randomName   = "random" // (processes, bytes): the state of everyone's random numbers
)

// save writes the checkpoint of a stage in progress.
func (t *stageRun[T]) save() error {
	err := t.engine.Do(context.Background(), func(*torch.Scope) error {
		random := t.world.everyone(torch.RNGState(t.engine.Device()))
		if !t.world.main() {
			return nil
		}
		weights := trained(t.net)
		if !allFinite(learned(weights)) {
			return errs.New(errs.Internal, "step %d: the weights are no longer finite; the last checkpoint is kept", t.state.Step)
		}
		t.state.Metrics = t.metrics.size()
		t.state.Slots = make(map[string]int)
		tensors := sources(weights)
		for _, slot := range t.optimizer.slots {
			if t.state.Slots[slot.name] = slot.steps; slot.mean.Defined() {
				tensors = append(tensors, nn.Source(meanPrefix+slot.name, slot.mean), nn.Source(squarePrefix+slot.name, slot.meanSquare))
			}
		}
		tensors = append(tensors, bundle.SourceTensor{
			Name: randomName, DType: "U8", Shape: []int64{int64(len(random)), int64(len(random[0]))},
			Bytes: func() []byte { return slices.Concat(random...) },
		})
		return t.checkpoints.write(currentName, t.state, tensors)
	})
	t.checkpoints.last = time.Now()
	if err != nil || !t.world.main() {
		return err
	}
	return t.checkpoints.forget("best-*", bestName(t.state.Best.Epoch))
}

// resume goes on from the checkpoint of this stage, if there is one. It runs
// on the engine.
func (t *stageRun[T]) resume() (err error) {
	var f *bundle.TensorFile
	var state stageState
	if t.world.main() {
		if f, err = t.checkpoints.read(currentName, &state); err != nil {
			return err
		}
		if f != nil {
			defer f.Close()
		}
	}
	text := []byte(nil)
	if f != nil && state.Stage == t.name {
		if text, err = json.Marshal(state); err != nil {
			return err
		}
	}
	if text = t.world.tell(text); len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, &t.state); err != nil {
		return err
	}
	t.log.Info("resumed", "stage", t.name, "epoch", t.state.Epoch, "step", t.state.Step)
	if err := t.takeWeights(f, t.net); err != nil {
		return err
	}
	if err := t.takeMoments(f); err != nil {
		return err
	}
	return t.takeRandom(f)
}

func (t *stageRun[T]) takeMoments(f *bundle.TensorFile) error {
	for _, slot := range t.optimizer.slots {
		if slot.steps = t.state.Slots[slot.name]; slot.steps == 0 {
			continue
		}
		slot.mean, slot.meanSquare = t.optimizer.zerosLike(slot.param), t.optimizer.zerosLike(slot.param)
		if err := t.take(f, meanPrefix+slot.name, slot.mean); err != nil {
			return err
		}
		if err := t.take(f, squarePrefix+slot.name, slot.meanSquare); err != nil {
			return err
		}
	}
	return nil
}

// takeRandom sets this process's random numbers to its row of the checkpoint.
func (t *stageRun[T]) takeRandom(f *bundle.TensorFile) error {
	var data []byte
	if f != nil {
		stored, ok := f.Tensor(randomName)
		if !ok || len(stored.Data)%t.world.size() != 0 {
			return errs.New(errs.Corrupt, "%s: tensor %q: expected a row for each of %d processes", f.Path, randomName, t.world.size())
		}
		data = stored.Data
	}
	data = t.world.tell(data)
	width := len(data) / t.world.size()
	torch.SetRNGState(t.engine.Device(), data[t.world.rank()*width:][:width])
	return nil
}

// take overwrites t with the stored tensor of that name, which only the main
// process reads: f is nil in the others.
func (r *run) take(f *bundle.TensorFile, name string, t torch.Tensor) error {
	if f != nil {
		stored, ok := f.Tensor(name)
		if !ok {
			return errs.New(errs.Corrupt, "%s: expected a tensor %q, found none", f.Path, name)
		}
		if err := nn.Set(t, stored); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	r.world.tellTensors(t)
	return nil
}

// takeWeights sets what training changes in a network.
func (r *run) takeWeights(f *bundle.TensorFile, p *nn.Params) error {
	for _, e := range trained(p) {
		if err := r.take(f, weightPrefix+e.Name, e.Tensor); err != nil {
			return err
		}
	}
	return nil
}

// trained is what training changes in a network: the parameters that are
// trained, and the buffers.
func trained(p *nn.Params) []nn.Param {
	var out []nn.Param
	for _, e := range p.All() {
		if e.Buffer || e.Tensor.RequiresGrad() {
			out = append(out, e)
		}
	}
	return out
}

// learned leaves the buffers out: a counter has no norm, and statistics follow
// the weights.
func learned(params []nn.Param) []torch.Tensor {
	var out []torch.Tensor
	for _, e := range params {
		if !e.Buffer {
			out = append(out, e.Tensor)
		}
	}
	return out
}

func sources(params []nn.Param) []bundle.SourceTensor {
	out := make([]bundle.SourceTensor, len(params))
	for i, e := range params {
		out[i] = nn.Source(weightPrefix+e.Name, e.Tensor)
	}
	return out
}

func bestName(epoch int) string { return fmt.Sprintf("best-%d.safetensors", epoch) }

// saveBest keeps the weights of the epoch that is the best so far.
func (t *stageRun[T]) saveBest(ctx context.Context) error {
	if !t.world.main() {
		return nil
	}
	return t.engine.Do(ctx, func(*torch.Scope) error {
		return t.checkpoints.write(bestName(t.state.Best.Epoch), t.state.Best, sources(trained(t.net)))
	})
}

// finish leaves the network at its best epoch and marks the stage as finished.
func (t *stageRun[T]) finish(ctx context.Context) (StageResult, error) {
	best := t.state.Best
	result := StageResult{t.name, best.Epoch, best.spearman()}
	err := t.engine.Do(ctx, func(*torch.Scope) error {
		var f *bundle.TensorFile
		if t.world.main() {
			var err error
			if f, err = t.checkpoints.read(bestName(best.Epoch), new(bestEpoch)); err != nil {
				return err
			}
			if f == nil {
				return errs.New(errs.NotFound, "%s is gone", t.checkpoints.path(bestName(best.Epoch)))
			}
			defer f.Close()
		}
		if err := t.takeWeights(f, t.net); err != nil || !t.world.main() {
			return err
		}
		done := finishedStage{best, t.metrics.size()}
		return t.checkpoints.write(finishedName(t.name), done, sources(trained(t.net)))
	})
	if err != nil || !t.world.main() {
		return result, err
	}
	if err := t.checkpoints.forget("best-*", ""); err != nil {
		return result, err
	}
	return result, t.checkpoints.forget(currentName, "")
}

// finishedStage is the header of a finished stage's file.
type finishedStage struct {
	Best    bestEpoch `json:"best"`
	Metrics int64     `json:"metrics_end"`
}

func finishedName(stage string) string { return strings.ReplaceAll(stage, " ", "-") + ".safetensors" }

// loadFinished sets the network of a stage that an earlier run has finished.
func (r *run) loadFinished(ctx context.Context, name string, p *nn.Params) (result StageResult, ok bool, err error) {
	err = r.engine.Do(ctx, func(*torch.Scope) error {
		var f *bundle.TensorFile
		var done finishedStage
		var text []byte
		var err error
		if r.world.main() {
			if f, err = r.checkpoints.read(finishedName(name), &done); err != nil {
				return err
			}
			if f != nil {
				defer f.Close()
				if text, err = json.Marshal(done); err != nil {
					return err
				}
			}
		}
		if text = r.world.tell(text); len(text) == 0 {
			return nil
		}
		if err := json.Unmarshal(text, &done); err != nil {
			return err
		}
		ok, result = true, StageResult{name, done.Best.Epoch, done.Best.spearman()}
		return r.takeWeights(f, p)
	})
	if err != nil {
		return result, false, fmt.Errorf("%s: load the finished stage: %w", name, err)
	}
	return result, ok, nil
}

// metricsEnd is how much of metrics.jsonl belongs to the checkpoints.
func (c *checkpoints) metricsEnd() (int64, error) {
	names, err := fs.Glob(os.DirFS(c.dir), "*.safetensors")
	if err != nil {
		return 0, err
	}
	end := int64(0)
	for _, name := range names {
		var state struct {
			Metrics int64 `json:"metrics_end"`
		}
		f, err := c.read(name, &state)
		if err != nil {
			return 0, err
		}
		if f != nil {
			end = max(end, state.Metrics)
			f.Close()
		}
	}
	return end, nil
}
