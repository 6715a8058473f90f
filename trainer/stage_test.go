package trainer

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"videosim/shared/model"
	"videosim/shared/torch"
)

// fakeStage trains one bias of late fusion; loss and measure are the test's.
func fakeStage(t *testing.T, r *run, cfg StageConfig, loss func(s *torch.Scope, bias torch.Tensor) torch.Tensor) stage[[]int] {
	t.Helper()
	net, err := build(context.Background(), r, seedLate, fromLateHead, model.NewLate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { net.scope.Close() })
	bias := net.net.Params().Get("text_embed.bias")
	net.net.Params().SetTrainable(func(name string) bool { return name == "text_embed.bias" })
	return stage[[]int]{
		name: "fake", cfg: cfg, net: net.net.Params(), items: len(r.corpus.split.Train), videosPerItem: 2,
		load: func(items []int) ([]int, error) { return items, nil },
		learn: func(s *torch.Scope, _ []int) lossValues {
			l := loss(s, bias)
			l.Backward()
			return lossValues{Total: l.Item()}
		},
		partial: func(string) bool { return true },
		measure: func(context.Context) (float64, error) { return 0, nil },
		ids:     r.pairIDs,
	}
}

// A loss that is no number stops the run, names the step and the videos, and
// leaves a checkpoint of the state before.
func TestDivergenceNamesTheBatch(t *testing.T) {
	r := openTestRun(t, smallConfig(t, smallCorpus(t, 60, 60)))
	ctx := context.Background()
	steps := 0
	var before []float32
	st := fakeStage(t, r, StageConfig{Epochs: 1, Batch: 8, LearningRate: 1e-3, Warmup: 0.1}, func(s *torch.Scope, bias torch.Tensor) torch.Tensor {
		loss := torch.SumAll(s, torch.Mul(s, bias, bias))
		if steps++; steps == 3 {
			before = bias.Float32s()
			return torch.MulScalar(s, loss, math.NaN())
		}
		return loss
	})
	_, err := runStage(ctx, r, st)
	third := pick(r.corpus.split.Train, shuffled(st.items, 8, r.cfg.Seed, 1).Items(2))
	if err == nil || !strings.Contains(err.Error(), "step 3") || !strings.Contains(err.Error(), third[0].A) {
		t.Fatalf("err = %v, want step 3 and the id %s", err, third[0].A)
	}
	var state stageState
	f, err := r.checkpoints.read(currentName, &state)
	if err != nil || f == nil {
		t.Fatalf("no checkpoint was left: %v", err)
	}
	defer f.Close()
	if state.Step != 2 || state.Batch != 2 {
		t.Errorf("the checkpoint is of step %d, batch %d, want 2 of both", state.Step, state.Batch)
	}
	stored, _ := f.Tensor(weightPrefix + "text_embed.bias")
	s := torch.NewScope()
	defer s.Close()
	if kept := torch.FromBytes(s, torch.Float32, stored.Data, stored.Shape...).Float32s(); !slices.Equal(kept, before) {
		t.Error("the checkpoint does not hold the weights of the last good step")
	}
}

// Weights that are no longer finite never replace a good checkpoint.
func TestBrokenWeightsAreNotSaved(t *testing.T) {
	r := openTestRun(t, smallConfig(t, smallCorpus(t, 60, 60)))
	st := fakeStage(t, r, StageConfig{Epochs: 1, Batch: 8, LearningRate: 1e-3, Warmup: 0.1}, func(s *torch.Scope, bias torch.Tensor) torch.Tensor {
		return torch.SumAll(s, torch.Mul(s, bias, bias))
	})
	x, err := newStageRun(context.Background(), r, st)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	if err := x.save(); err != nil {
		t.Fatal(err)
	}
	st.net.Get("text_embed.bias").Fill(math.Inf(1))
	x.state.Step = 7
	if err := x.save(); err == nil || !strings.Contains(err.Error(), "no longer finite") {
		t.Errorf("err = %v, want a refusal", err)
	}
	var state stageState
	f, err := r.checkpoints.read(currentName, &state)
	if err != nil || f == nil {
		t.Fatal("the good checkpoint is gone", err)
	}
	defer f.Close()
	if state.Step != 0 {
		t.Errorf("the checkpoint is of step %d, want the good one of step 0", state.Step)
	}
}

// The best epoch is the first of the highest coefficient, and the network ends
// with its weights.
func TestStageEndsAtItsBestEpoch(t *testing.T) {
	for name, c := range map[string]struct {
		spearman []float64
		best     int
	}{
		"in the middle":             {[]float64{0.1, 0.5, 0.3}, 2},
		"a tie keeps the first":     {[]float64{0.4, 0.4}, 1},
		"undefined ranks lowest":    {[]float64{math.NaN(), -0.2, math.NaN()}, 2},
		"never defined: some epoch": {[]float64{math.NaN(), math.NaN()}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			best, weight := runFakeStage(t, c.spearman)
			if best.Epoch != c.best {
				t.Errorf("best epoch %d, want %d", best.Epoch, c.best)
			}
			if !slices.Equal(weight[0], weight[best.Epoch]) {
				t.Errorf("the weights are not those of epoch %d", best.Epoch)
			}
		})
	}
}

// runFakeStage runs a stage with the given coefficients as its measure.
// weight[0] is its weight at the end, weight[k] that after epoch k.
func runFakeStage(t *testing.T, spearman []float64) (StageResult, map[int][]float32) {
	r := openTestRun(t, smallConfig(t, smallCorpus(t, 60, 60)))
	st := fakeStage(t, r, StageConfig{Epochs: len(spearman), Batch: 16, LearningRate: 0.1, Warmup: 0.1}, func(s *torch.Scope, bias torch.Tensor) torch.Tensor {
		return torch.SumAll(s, torch.Mul(s, bias, bias))
	})
	bias := st.net.Get("text_embed.bias")
	weight := map[int][]float32{}
	st.measure = func(context.Context) (float64, error) {
		k := len(weight) + 1
		weight[k] = bias.Float32s()
		return spearman[k-1], nil
	}
	best, err := runStage(context.Background(), r, st)
	if err != nil {
		t.Fatal(err)
	}
	weight[0] = bias.Float32s()
	return best, weight
}
