package trainer

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// halves are the outputs of both models for some videos, by id.
type halves struct{ late, early map[string][]float32 }

// combined looks up the embedding of a video: the normalised sum.
func (h halves) combined(id string) ([]float32, bool) {
	sum, err := eval.Combine(h.late[id], h.early[id])
	return sum, err == nil
}

func lookup(rows map[string][]float32) func(id string) ([]float32, bool) {
	return func(id string) ([]float32, bool) { e, ok := rows[id]; return e, ok }
}

// halvesOf embeds videos with both models in evaluation mode.
func (r *run) halvesOf(ctx context.Context, late *model.Late, early *model.EarlyFinetuned, ids []string) (halves, error) {
	h := halves{make(map[string][]float32, len(ids)), make(map[string][]float32, len(ids))}
	rows, err := rowsOf(ctx, r, ids, late.Params(), r.collate, func(s *torch.Scope, b *video.Batch) torch.Tensor {
		early.Params().SetTraining(false)
		in := r.inputs(s, b)
		return torch.Cat(s, 1, late.Forward(s, in).Embedding, early.Forward(s, in).Embedding) // (B,2E)
	})
	if err != nil {
		return h, err
	}
	for i, id := range ids {
		h.late[id], h.early[id] = rows[i][:r.model.Embedding], rows[i][r.model.Embedding:]
	}
	return h, nil
}

// untrained is the held-out Spearman of both models with their first random
// values: what the corpus gives away for nothing.
func (r *run) untrained(ctx context.Context) (float64, error) {
	late, err := build(ctx, r, seedLate, fromLateHead, model.NewLate)
	if err != nil {
		return 0, err
	}
	defer r.free(late.scope)
	early, err := build(ctx, r, seedEarly, fromHead, model.NewEarlyFinetuned)
	if err != nil {
		return 0, err
	}
	defer r.free(early.scope)
	h, err := r.halvesOf(ctx, late.net, early.net, pairIDs(r.corpus.split.HeldOut))
	if err != nil {
		return 0, err
	}
	return eval.Evaluate(r.corpus.split.HeldOut, h.combined).Spearman, nil
}

// finish measures the trained models, fits the calibration and writes the
// bundle.
func (r *run) finish(ctx context.Context, late *model.Late, early *model.EarlyFinetuned, result *Result) error {
	s := r.corpus.split
	h, err := r.halvesOf(ctx, late, early, append(pairIDs(s.HeldOut), pairIDs(s.Train)...))
	if err != nil {
		return fmt.Errorf("measure the trained models: %w", err)
	}
	result.Late = eval.Evaluate(s.HeldOut, lookup(h.late)).Spearman
	result.Early = eval.Evaluate(s.HeldOut, lookup(h.early)).Spearman
	train := eval.Evaluate(s.Train, h.combined)
	judged := Evaluation{Result: eval.Evaluate(s.HeldOut, h.combined)}
	calibration, scores := calibrate(train, judged.Result)
	judged.Scores = scores
	if err := judged.describe(ctx, defaultResamples); err != nil {
		return fmt.Errorf("confidence interval: %w", err)
	}
	result.Ensemble = judged.Spearman
	if err := r.record(metric{Event: "calibration", Stage: "ensemble", Spearman: finite(result.Ensemble), TrainPairs: train.Pairs, HeldOutPairs: len(s.HeldOut)}); err != nil {
		return err
	}
	if !r.world.main() {
		return nil
	}
	r.progress.println("%-22s held-out spearman %s (late %s, early %s, untrained %s)", "ensemble",
		figure(result.Ensemble), figure(result.Late), figure(result.Early), figure(result.Untrained))
	if in := judged.Interval; in.Resamples > 0 {
		r.progress.println("%-22s 95 %% interval %s to %s", "", figure(in.Low), figure(in.High))
	}

	digest, err := r.corpus.digest()
	if err != nil {
		return fmt.Errorf("digest the data: %w", err)
	}
	manifest := bundle.Manifest{
		DataDigest: digest, Preset: r.cfg.Preset, EmbeddingDim: r.model.Embedding, FrameDim: r.model.Video.FrameDim,
		Calibration: calibration,
		Metrics: map[string]float64{
			"spearman_held_out": result.Ensemble, "spearman_late": result.Late, "spearman_early": result.Early,
			"spearman_untrained": result.Untrained, "spearman_train": train.Spearman,
			"score_error_held_out": judged.meanAbsError(), "calibration_error_held_out": judged.calibrationError(),
			"train_pairs": float64(len(s.Train)), "held_out_pairs": float64(len(s.HeldOut)),
		},
	}
	if result.Fingerprint, err = r.write(ctx, late, early, manifest); err != nil || r.cfg.Report == "" {
		return err
	}
	return r.report(*result, manifest, judged)
}

// report writes the page about the whole run.
func (r *run) report(result Result, m bundle.Manifest, e Evaluation) error {
	log, err := readMetricsLog(r.cfg.Work)
	if err != nil {
		return err
	}
	titles, err := r.titles(e)
	if err != nil {
		return fmt.Errorf("titles for the report: %w", err)
	}
	return writeReport(r.cfg.Report, reportData{
		Title: "Training", Made: time.Now(), Fingerprint: result.Fingerprint, Preset: m.Preset, DataDigest: m.DataDigest,
		Labels: fmt.Sprintf("%d held-out pairs", len(result.HeldOut)), Evaluation: e, Metrics: log, Titles: titles,
		Facts: []fact{
			{"late fusion alone", figure(result.Late)}, {"early fusion alone", figure(result.Early)},
			{"untrained", figure(result.Untrained)}, {"training pairs", fmt.Sprint(len(r.corpus.split.Train))},
		},
	})
}

// titles reads those of the pairs that a report lists.
func (r *run) titles(e Evaluation) (map[string]string, error) {
	var ids []string
	for _, row := range worstRows(e, nil) {
		ids = append(ids, row.A, row.B)
	}
	videos, err := r.corpus.read(ids)
	titles := make(map[string]string, len(videos))
	for _, v := range videos {
		titles[v.ID] = v.Title
	}
	return titles, err
}

func (r *run) write(ctx context.Context, late *model.Late, early *model.EarlyFinetuned, manifest bundle.Manifest) (string, error) {
	config, err := json.MarshalIndent(r.model, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode the model config: %w", err)
	}
	c := bundle.Contents{Config: append(config, '\n'), Vocab: r.start.vocab, Manifest: manifest}
	err = r.engine.Do(ctx, func(*torch.Scope) error {
		c.Late, c.Early = late.Params().Export(), early.Params().Export()
		return nil
	})
	if err != nil {
		return "", err
	}
	return bundle.Write(r.cfg.Out, c)
}
