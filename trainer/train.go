package trainer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/service"
	"videosim/shared/text"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// Result is what a training run leaves behind besides the bundle.
type Result struct {
	Fingerprint string
	Stages      []StageResult
	// Spearman coefficients on the held-out pairs, NaN where undefined.
	Untrained, Late, Early, Ensemble float64
	// HeldOut are the pairs that no stage learned from; HeldOutPath is the
	// file that lists them, in the form of label.tsv.
	HeldOut     []eval.Pair
	HeldOutPath string
	Elapsed     time.Duration
}

// Every stage has random numbers of its own, made from the run's seed and one
// of these.
const (
	seedText = iota + 1
	seedVideo
	seedCross
	seedLate
	seedEarly
)

// run is what the stages of one training run share.
type run struct {
	cfg       TrainConfig
	log       *slog.Logger
	engine    *torch.Engine
	corpus    *corpus
	model     model.Config
	tokenizer *text.Tokenizer
	collator  *video.Collator
	metrics   *metricsLog
	progress  *progress
}

// Train trains both models on a data folder and writes the bundle. Stages run
// one after the other; each starts from the best epoch of those before it:
//
//	pretrain text ──┐
//	pretrain video ─┴─► finetune late ──┐
//	pretrain cross ───► finetune early ─┴─► calibration ─► bundle
func Train(ctx context.Context, cfg TrainConfig, env *service.Env) (Result, error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	began := time.Now()
	r, err := openRun(ctx, cfg.withPreset(), env)
	if err != nil {
		return Result{}, err
	}
	defer r.close()
	result, err := r.train(ctx)
	result.Elapsed = time.Since(began)
	return result, err
}

// openRun opens the data before it starts the engine: what is wrong with the
// data shows at once.
func openRun(ctx context.Context, cfg TrainConfig, env *service.Env) (*run, error) {
	r := &run{cfg: cfg, log: env.Log, progress: newProgress(env.Stderr)}
	var err error
	if r.corpus, err = openCorpus(ctx, cfg); err != nil {
		return nil, err
	}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.corpus.Close())
	}
	return r, nil
}

func (r *run) open() (err error) {
	if r.model, err = modelConfig(r.cfg, r.corpus); err != nil {
		return err
	}
	vocab := text.ChineseVocab()
	if r.tokenizer, err = text.New(vocab, r.model.TextOptions()); err != nil {
		return err
	}
	r.collator = newCollator(r.tokenizer, r.model)
	if err := os.MkdirAll(r.cfg.Work, 0o755); err != nil {
		return fmt.Errorf("make the work folder: %w", err)
	}
	if r.metrics, err = openMetrics(r.cfg.Work, 0); err != nil {
		return err
	}
	r.engine, err = torch.Start(torch.EngineConfig{Device: r.cfg.Device, Threads: r.cfg.Threads, Seed: r.cfg.Seed})
	if err != nil {
		return errors.Join(fmt.Errorf("start the engine: %w", err), r.metrics.Close())
	}
	return nil
}

// modelConfig is the preset with what the data and the settings decide.
func modelConfig(cfg TrainConfig, c *corpus) (model.Config, error) {
	m, err := model.Preset(cfg.Preset)
	if err != nil {
		return m, err
	}
	m.Video.FrameDim = c.frameDim
	m.Tags = c.folder.Tags.Len()
	m.AttendPaddingFrames = cfg.AttendPaddingFrames
	m.LiteralSpecialTokens = cfg.LiteralSpecialTokens
	return m, m.Validate()
}

func (r *run) close() {
	r.progress.wait()
	r.engine.Close()
	if err := errors.Join(r.metrics.Close(), r.corpus.Close()); err != nil {
		r.log.Error("close the training run", "error", err)
	}
}

func (r *run) train(ctx context.Context) (Result, error) {
	result := Result{HeldOut: r.corpus.split.HeldOut, HeldOutPath: filepath.Join(r.cfg.Work, "held_out.tsv")}
	if err := r.announce(result.HeldOutPath); err != nil {
		return result, err
	}
	var err error
	if result.Untrained, err = r.untrained(ctx); err != nil {
		return result, fmt.Errorf("measure the untrained models: %w", err)
	}
	late, err := r.lateModel(ctx, &result)
	if err != nil {
		return result, err
	}
	defer r.free(late.scope)
	early, err := r.earlyModel(ctx, &result)
	if err != nil {
		return result, err
	}
	defer r.free(early.scope)
	return result, r.finish(ctx, late.net, early.net, &result)
}

// lateModel pretrains both towers of late fusion and finetunes the whole.
func (r *run) lateModel(ctx context.Context, result *Result) (owned[*model.Late], error) {
	var none owned[*model.Late]
	words, err := pretrain(ctx, r, tagStage[*model.TextNet]{name: "pretrain text", seed: seedText, cfg: r.cfg.PretrainText, build: model.NewTextNet}, result)
	if err != nil {
		return none, err
	}
	defer r.free(words.scope)
	frames, err := pretrain(ctx, r, tagStage[*model.VideoNet]{name: "pretrain video", seed: seedVideo, cfg: r.cfg.PretrainVideo, build: model.NewVideoNet}, result)
	if err != nil {
		return none, err
	}
	defer r.free(frames.scope)
	return r.finetuneLate(ctx, words.net, frames.net, result)
}

// earlyModel pretrains and finetunes early fusion.
func (r *run) earlyModel(ctx context.Context, result *Result) (owned[*model.EarlyFinetuned], error) {
	cross, err := pretrain(ctx, r, tagStage[*model.Early]{name: "pretrain cross-modal", seed: seedCross, cfg: r.cfg.PretrainCross, build: model.NewEarly}, result)
	if err != nil {
		return owned[*model.EarlyFinetuned]{}, err
	}
	defer r.free(cross.scope)
	return r.finetuneEarly(ctx, cross.net, result)
}

// announce says how the data was divided and writes the held-out pairs.
func (r *run) announce(heldOutPath string) error {
	s := r.corpus.split
	r.log.Info("data", "folder", r.cfg.Data, "videos", r.corpus.videos(), "pretraining_videos", r.corpus.pretrainCount(),
		"train_pairs", len(s.Train), "held_out_pairs", len(s.HeldOut), "crossing_pairs", s.Crossing, "pairs_without_record", r.corpus.unknown)
	if err := writePairs(heldOutPath, s.HeldOut); err != nil {
		return fmt.Errorf("write the held-out pairs: %w", err)
	}
	return r.metrics.write(metric{Event: "split", TrainPairs: len(s.Train), HeldOutPairs: len(s.HeldOut)})
}

func writePairs(path string, pairs []eval.Pair) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, p := range pairs {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.A, p.B, strconv.FormatFloat(p.Label, 'f', -1, 64))
	}
	return errors.Join(w.Flush(), f.Close())
}
