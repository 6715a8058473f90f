package trainer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"videosim/shared/errs"
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
// of these: its outcome does not depend on what ran before it, and a run can
// start again at a stage's beginning.
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
	world     world
	corpus    *corpus
	start     start
	model     model.Config
	tokenizer *text.Tokenizer
	collator  *video.Collator

	checkpoints *checkpoints
	metrics     *metricsLog // nil but in the main process
	progress    *progress
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
	r := &run{cfg: cfg, log: env.Log}
	var err error
	if r.start, err = openStart(cfg.From); err != nil {
		return nil, err
	}
	if r.corpus, err = openCorpus(ctx, cfg); err != nil {
		return nil, err
	}
	if err := r.open(env.Stderr); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *run) open(out io.Writer) (err error) {
	if r.model, err = modelConfig(r.cfg, r.start, r.corpus); err != nil {
		return err
	}
	if r.tokenizer, err = text.New(r.start.vocab, r.model.TextOptions()); err != nil {
		return err
	}
	r.collator = newCollator(r.tokenizer, r.model)
	r.engine, err = torch.Start(torch.EngineConfig{Device: r.cfg.Device, Threads: r.cfg.Threads, Precision: r.cfg.Precision, Seed: r.cfg.Seed})
	if err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	if r.world, err = joinWorld(r.engine.Device()); err != nil {
		return err
	}
	if !r.world.main() {
		out = io.Discard
	}
	r.progress = newProgress(out)
	return r.openWork()
}

// openWork opens the work folder, whose files the main process alone writes.
func (r *run) openWork() error {
	if err := os.MkdirAll(r.cfg.Work, 0o755); err != nil {
		return fmt.Errorf("make the work folder: %w", err)
	}
	digest, err := r.corpus.digest()
	if err != nil {
		return fmt.Errorf("digest the data: %w", err)
	}
	want := runFile{
		Data: digest, Processes: r.world.size(),
		Settings: r.cfg.deciding(r.engine.Device().String(), r.engine.DType().String(), r.start.fingerprint()),
	}
	dir := filepath.Join(r.cfg.Work, "checkpoint")
	if !r.world.main() {
		// The files are the main process's; this one keeps only its cache there.
		r.checkpoints = &checkpoints{dir: dir}
		if err := r.agreeOnRun(); err != nil {
			return err
		}
		return os.MkdirAll(dir, 0o755) // after the main process has emptied it
	}
	if r.checkpoints, err = openCheckpoints(dir, want, r.cfg.Resume, r.cfg.CheckpointEvery); err != nil {
		return err
	}
	keep, err := r.checkpoints.metricsEnd()
	if err != nil {
		return err
	}
	if r.metrics, err = openMetrics(r.cfg.Work, keep); err != nil {
		return err
	}
	return r.agreeOnRun()
}

// agreeOnRun tells every process the run's name.
func (r *run) agreeOnRun() error {
	return r.engine.Do(context.Background(), func(*torch.Scope) error {
		r.checkpoints.run = string(r.world.tell([]byte(r.checkpoints.run)))
		return nil
	})
}

// modelConfig is the preset, or the bundle's config, with what the data and
// the settings decide.
func modelConfig(cfg TrainConfig, from start, c *corpus) (model.Config, error) {
	m, err := from.config(cfg.Preset)
	if err != nil {
		return m, err
	}
	if from.bundle != nil && c.frameDim != m.Video.FrameDim {
		return m, errs.Field("from", "expected a bundle for frames of %d values, which the data has, found %d", c.frameDim, m.Video.FrameDim)
	}
	m.Video.FrameDim = c.frameDim
	m.Tags = c.folder.Tags.Len()
	if from.bundle == nil {
		m.AttendPaddingFrames = cfg.AttendPaddingFrames
		m.LiteralSpecialTokens = cfg.LiteralSpecialTokens
	}
	if cfg.Dropout != nil {
		m.Text.Dropout, m.Video.Dropout = *cfg.Dropout, *cfg.Dropout
	}
	return m, m.Validate()
}

// close frees whatever of the run was opened.
func (r *run) close() {
	if r.progress != nil {
		r.progress.wait()
		r.showProblems()
	}
	var err error
	if r.engine != nil {
		err = r.engine.Do(context.Background(), func(*torch.Scope) error { r.world.close(); return nil })
		r.engine.Close()
	}
	if r.metrics != nil {
		err = errors.Join(err, r.metrics.Close())
	}
	if err = errors.Join(err, r.corpus.Close()); err != nil {
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
	if err := r.finish(ctx, late.net, early.net, &result); err != nil || !r.world.main() {
		return result, err
	}
	return result, r.checkpoints.remove()
}

// lateModel pretrains both towers of late fusion and finetunes the whole.
func (r *run) lateModel(ctx context.Context, result *Result) (owned[*model.Late], error) {
	var none owned[*model.Late]
	words, err := pretrain(ctx, r, tagStage[*model.TextNet]{name: "pretrain text", seed: seedText, from: fromText, cfg: r.cfg.PretrainText, build: model.NewTextNet}, result)
	if err != nil {
		return none, err
	}
	defer r.free(words.scope)
	frames, err := pretrain(ctx, r, tagStage[*model.VideoNet]{name: "pretrain video", seed: seedVideo, from: fromVideo, cfg: r.cfg.PretrainVideo, build: model.NewVideoNet}, result)
	if err != nil {
		return none, err
	}
	defer r.free(frames.scope)
	return r.finetuneLate(ctx, words.net, frames.net, result)
}

// earlyModel pretrains and finetunes early fusion.
func (r *run) earlyModel(ctx context.Context, result *Result) (owned[*model.EarlyFinetuned], error) {
	cross, err := pretrain(ctx, r, tagStage[*model.Early]{name: "pretrain cross-modal", seed: seedCross, from: fromCross, cfg: r.cfg.PretrainCross, build: model.NewEarly}, result)
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
	if !r.world.main() {
		return nil
	}
	if err := r.announceProblems(); err != nil {
		return err
	}
	if err := writePairs(heldOutPath, s.HeldOut); err != nil {
		return fmt.Errorf("write the held-out pairs: %w", err)
	}
	if r.metrics.size() > 0 {
		return nil // the line is there, from before the run was resumed
	}
	return r.record(metric{Event: "split", TrainPairs: len(s.Train), HeldOutPairs: len(s.HeldOut)})
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
