package trainer

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"videosim/shared/model"
	"videosim/shared/video"
)

// BenchmarkLateEpoch times an epoch of late fusion's finetuning at the
// published sizes through its frozen towers (dropout on, as published), then
// with the towers' outputs cached, and prints the ratio. Making the cache is
// timed apart: it is done once a run.
func BenchmarkLateEpoch(b *testing.B) {
	corpus, err := video.SynthPreset("base", 24, 12, 1)
	if err != nil {
		b.Fatal(err)
	}
	data := filepath.Join(b.TempDir(), "corpus")
	if err := video.Synthesize(data, corpus, nil); err != nil {
		b.Fatal(err)
	}
	cfg := TrainConfig{Data: data, Out: filepath.Join(b.TempDir(), "bundle"), Preset: "base", HeldOut: 0.3, Device: "cpu"}
	r := openTestRun(b, cfg)
	ctx := context.Background()
	net, err := build(ctx, r, seedLate, fromLateHead, model.NewLate)
	if err != nil {
		b.Fatal(err)
	}
	defer r.free(net.scope)
	net.net.Params().SetTrainable(net.net.Trainable)
	epoch := func(mode string) time.Duration {
		b.Helper()
		st := StageConfig{LearningRate: 3e-4, Epochs: 1, Batch: 8, Warmup: 0.05, Freeze: FreezeTowers, FrozenMode: mode}
		if err := os.RemoveAll(r.checkpoints.path(finishedName("finetune late"))); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if err := r.trainLate(ctx, net.net, st, new(Result)); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	for b.Loop() {
		towers := epoch(FrozenTrain)
		first := epoch(FrozenEval) // makes the cache
		cached := epoch(FrozenEval)
		b.ReportMetric(towers.Seconds(), "s/epoch-towers")
		b.ReportMetric(first.Seconds()-cached.Seconds(), "s/cache")
		b.ReportMetric(cached.Seconds(), "s/epoch-cached")
		b.ReportMetric(cached.Seconds()/towers.Seconds(), "cached/towers")
	}
}
