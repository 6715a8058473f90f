package trainer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/service"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// smallConfig is a run of seconds: a few epochs over a small corpus.
func smallConfig(t *testing.T, data string) TrainConfig {
	pretrain := StageConfig{Epochs: 2, Batch: 16, LearningRate: 1e-3}
	return TrainConfig{
		Data: data, Out: filepath.Join(t.TempDir(), "bundle"), Preset: "tiny", Seed: 1, HeldOut: 0.2,
		Device: "cpu", Threads: 1, Loaders: 2, LogEvery: 5, LiteralSpecialTokens: "text",
		PretrainText: pretrain, PretrainVideo: pretrain, PretrainCross: pretrain,
		FinetuneLate:  StageConfig{Epochs: 4, Batch: 32},
		FinetuneEarly: StageConfig{Epochs: 1, Batch: 32},
	}
}

func smallCorpus(t *testing.T, videos, pairs int) string {
	t.Helper()
	cfg, err := video.SynthPreset("tiny", videos, pairs, 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg.FrameDim = 64
	dir := filepath.Join(t.TempDir(), "corpus")
	if err := video.Synthesize(dir, cfg, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// One small run from corpus to bundle, and everything that is left behind.
func TestTrainMakesABundleThatBeatsChance(t *testing.T) {
	data := smallCorpus(t, 400, 500)
	cfg := smallConfig(t, data)
	before := torch.LiveTensors()
	result, err := Train(context.Background(), cfg, service.NewTestEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	if leaked := torch.LiveTensors() - before; leaked != 0 {
		t.Errorf("training leaked %d tensors", leaked)
	}
	if !(result.Ensemble > result.Untrained+0.2) {
		t.Errorf("held-out spearman %.3f, untrained %.3f: expected a gain of at least 0.2", result.Ensemble, result.Untrained)
	}
	b, err := bundle.Open(cfg.Out)
	if err != nil {
		t.Fatal(err)
	}
	if b.Manifest.Fingerprint != result.Fingerprint || math.Abs(b.Manifest.Metrics["spearman_held_out"]-result.Ensemble) > 1e-12 {
		t.Errorf("manifest %+v does not fit the result %+v", b.Manifest, result)
	}
	if n := len(b.Manifest.Calibration.Cosines); n < 3 {
		t.Errorf("calibration has %d knots", n)
	}
	t.Run("the bundle scores as the trained models did", func(t *testing.T) { evaluateAgain(t, cfg, result) })
	t.Run("metrics", func(t *testing.T) { readMetrics(t, cfg.Out+".run/metrics.jsonl", result) })
	t.Run("inspect", func(t *testing.T) { inspectAll(t, cfg, result) })
}

func evaluateAgain(t *testing.T, cfg TrainConfig, result Result) {
	r, err := Evaluate(context.Background(), EvaluateConfig{
		Labels: result.HeldOutPath, Bundle: cfg.Out, Data: cfg.Data, Engine: EngineConfig{Device: "cpu", Threads: 1, Batch: 7},
	})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(r.Spearman-result.Ensemble) > 1e-3 || r.Pairs != len(result.HeldOut) || r.Missing != 0 {
		t.Errorf("%s, training said %.4f on %d pairs", Summary(r.Result), result.Ensemble, len(result.HeldOut))
	}
}

func readMetrics(t *testing.T, path string, result Result) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	best := map[string]metric{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var m metric
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if m.Event == "epoch" && m.Best {
			best[m.Stage] = m
		}
	}
	if len(result.Stages) != 5 {
		t.Fatalf("%d stages, want 5", len(result.Stages))
	}
	for _, st := range result.Stages {
		m, ok := best[st.Name]
		if !ok || m.Epoch != st.Epoch || m.Spearman == nil || *m.Spearman != st.Spearman {
			t.Errorf("stage %+v, its best line of metrics is %+v", st, m)
		}
	}
}

func inspectAll(t *testing.T, cfg TrainConfig, result Result) {
	for path, want := range map[string]string{
		cfg.Out: result.Fingerprint,
		filepath.Join(cfg.Out, "late.safetensors"): "fusion_gate.fc_avg.1.running_mean",
		cfg.Data: "500 pairs",
		filepath.Join(cfg.Data, "pairwise", "pairwise.tfrecords"):    "× 64",
		filepath.Join(cfg.Data, "pointwise", "pretrain_0.tfrecords"): "records",
	} {
		var out bytes.Buffer
		if err := Inspect(&out, path); err != nil {
			t.Errorf("inspect %s: %v", path, err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("inspect %s does not say %q:\n%s", path, want, out.String())
		}
	}
	if err := Inspect(&bytes.Buffer{}, filepath.Join(cfg.Data, "label.tsv")); errs.KindOf(err) != errs.Invalid {
		t.Errorf("inspect of a label file: %v, want kind invalid", err)
	}
}

// The same seed gives the same bundle, bit for bit, on one machine.
func TestTrainIsReproducible(t *testing.T) {
	data := smallCorpus(t, 120, 130)
	var fingerprints []string
	for _, change := range []func(*TrainConfig){
		func(*TrainConfig) {},
		func(c *TrainConfig) { c.Loaders = 1 },
		func(c *TrainConfig) { c.Seed = 2 },
	} {
		cfg := smallConfig(t, data)
		for _, s := range []*StageConfig{&cfg.PretrainText, &cfg.PretrainVideo, &cfg.PretrainCross, &cfg.FinetuneLate} {
			s.Epochs = 1
		}
		change(&cfg)
		result, err := Train(context.Background(), cfg, service.NewTestEnv(t))
		if err != nil {
			t.Fatal(err)
		}
		fingerprints = append(fingerprints, result.Fingerprint)
	}
	if fingerprints[0] != fingerprints[1] {
		t.Error("the same seed made two different bundles")
	}
	if fingerprints[0] == fingerprints[2] {
		t.Error("another seed made the same bundle")
	}
}

// The reference's way of finetuning, dropout inside the frozen towers and all,
// and training everything, are settings; both must run.
func TestFinetuningModes(t *testing.T) {
	data := smallCorpus(t, 120, 130)
	for name, mode := range map[string]StageConfig{
		"frozen towers in training mode": {Epochs: 1, Batch: 16, Freeze: FreezeTowers, FrozenMode: FrozenTrain},
		"nothing frozen":                 {Epochs: 1, Batch: 16, Freeze: FreezeNone, FrozenMode: FrozenTrain},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := smallConfig(t, data)
			cfg.FinetuneLate, cfg.FinetuneEarly = mode, mode
			for _, s := range []*StageConfig{&cfg.PretrainText, &cfg.PretrainVideo, &cfg.PretrainCross} {
				s.Epochs = 1
			}
			result, err := Train(context.Background(), cfg, service.NewTestEnv(t))
			if err != nil {
				t.Fatal(err)
			}
			if math.IsNaN(result.Ensemble) {
				t.Error("the trained models score all pairs alike")
			}
		})
	}
}

// What finetuning may not change stays as it was, bit for bit.
func TestFrozenTowersStayAsTheyWere(t *testing.T) {
	r := openTestRun(t, smallConfig(t, smallCorpus(t, 120, 130)))
	ctx := context.Background()
	words, err := build(ctx, r, seedText, fromText, model.NewTextNet)
	if err != nil {
		t.Fatal(err)
	}
	defer r.free(words.scope)
	frames, err := build(ctx, r, seedVideo, fromVideo, model.NewVideoNet)
	if err != nil {
		t.Fatal(err)
	}
	defer r.free(frames.scope)
	late, err := r.finetuneLate(ctx, words.net, frames.net, new(Result))
	if err != nil {
		t.Fatal(err)
	}
	defer r.free(late.scope)
	for _, e := range words.net.Params().All() {
		if !bytes.Equal(e.Tensor.Bytes(), late.net.Params().Get("text_model."+e.Name).Bytes()) {
			t.Errorf("%s changed", e.Name)
		}
	}
}

func openTestRun(t testing.TB, cfg TrainConfig) *run {
	t.Helper()
	r, err := openRun(context.Background(), cfg.withPreset(), service.NewTestEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

// No stage reads a held-out video while it learns.
func TestNoStageLearnsFromHeldOutVideos(t *testing.T) {
	r := openTestRun(t, smallConfig(t, smallCorpus(t, 200, 220)))
	everything := make([]int, r.corpus.pretrainCount())
	for i := range everything {
		everything[i] = i
	}
	for _, id := range r.corpus.pretrainIDs(everything) {
		if r.corpus.split.IsHeldOut(id) {
			t.Errorf("video %s is held out and pretrained on", id)
		}
	}
	all := make([]int, len(r.corpus.split.Train))
	for i := range all {
		all[i] = i
	}
	for _, id := range r.pairIDs(all) {
		if r.corpus.split.IsHeldOut(id) {
			t.Errorf("video %s is held out and finetuned on", id)
		}
	}
	if r.corpus.pretrainCount()+len(pairIDs(r.corpus.split.HeldOut)) != r.corpus.videos() {
		t.Errorf("%d videos are pretrained on and %d held out, of %d", r.corpus.pretrainCount(), len(pairIDs(r.corpus.split.HeldOut)), r.corpus.videos())
	}
}

func TestTrainStopsWhenAsked(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cfg := smallConfig(t, smallCorpus(t, 60, 60))
	cancel()
	before := torch.LiveTensors()
	if _, err := Train(ctx, cfg, service.NewTestEnv(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
	if leaked := torch.LiveTensors() - before; leaked != 0 {
		t.Errorf("leaked %d tensors", leaked)
	}
	if _, err := os.Stat(cfg.Out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a stopped run left a bundle: %v", err)
	}
}

func TestSummary(t *testing.T) {
	if got := Summary(eval.Result{Spearman: 0.84567, Pairs: 12, Missing: 3}); got != "spearman=0.8457 pairs=12 missing=3" {
		t.Errorf("summary is %q", got)
	}
}
