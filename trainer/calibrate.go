package trainer

import (
	"context"
	"encoding/json"
	"fmt"

	"videosim/shared/bundle"
	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/text"
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
	ensemble := model.NewEnsemble(r.model, late, early)
	l := loader[*video.Batch]{workers: r.cfg.Loaders, ahead: r.cfg.Loaders + 1, load: func(items []int) (*video.Batch, error) {
		return r.collate(pick(ids, items))
	}}
	err := l.each(ctx, inOrder(len(ids), measureBatch), 0, func(_ int, _ []int, b *video.Batch) error {
		return r.engine.Do(ctx, func(s *torch.Scope) error {
			late.Params().SetTraining(false)
			early.Params().SetTraining(false)
			rows, err := ensemble.Embed(s, b)
			if err != nil {
				return err
			}
			for i, id := range b.IDs {
				h.late[id], h.early[id] = rows.Late[i], rows.Early[i]
			}
			return nil
		})
	})
	return h, err
}

// untrained is the held-out Spearman of both models with their first random
// values: what the corpus gives away for nothing.
func (r *run) untrained(ctx context.Context) (float64, error) {
	late, err := build(ctx, r, seedLate, model.NewLate)
	if err != nil {
		return 0, err
	}
	defer r.free(late.scope)
	early, err := build(ctx, r, seedEarly, model.NewEarlyFinetuned)
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
// bundle. The calibration is fitted to the training pairs, so that the
// held-out ones stay a fair measure of the scores, too.
func (r *run) finish(ctx context.Context, late *model.Late, early *model.EarlyFinetuned, result *Result) error {
	s := r.corpus.split
	h, err := r.halvesOf(ctx, late, early, append(pairIDs(s.HeldOut), pairIDs(s.Train)...))
	if err != nil {
		return fmt.Errorf("measure the trained models: %w", err)
	}
	result.Late = eval.Evaluate(s.HeldOut, lookup(h.late)).Spearman
	result.Early = eval.Evaluate(s.HeldOut, lookup(h.early)).Spearman
	result.Ensemble = eval.Evaluate(s.HeldOut, h.combined).Spearman
	train := eval.Evaluate(s.Train, h.combined)
	calibration := eval.FitCalibration(train.Cosines, train.Labels)
	if err := r.metrics.write(metric{Event: "calibration", Stage: "ensemble", Spearman: finite(result.Ensemble), TrainPairs: train.Pairs, HeldOutPairs: len(s.HeldOut)}); err != nil {
		return err
	}
	r.progress.println("%-22s held-out spearman %s (late %s, early %s, untrained %s)", "ensemble",
		figure(result.Ensemble), figure(result.Late), figure(result.Early), figure(result.Untrained))

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
			"train_pairs": float64(len(s.Train)), "held_out_pairs": float64(len(s.HeldOut)),
		},
	}
	result.Fingerprint, err = r.write(ctx, late, early, manifest)
	return err
}

func (r *run) write(ctx context.Context, late *model.Late, early *model.EarlyFinetuned, manifest bundle.Manifest) (string, error) {
	config, err := json.MarshalIndent(r.model, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode the model config: %w", err)
	}
	c := bundle.Contents{Config: append(config, '\n'), Vocab: text.ChineseVocab(), Manifest: manifest}
	err = r.engine.Do(ctx, func(*torch.Scope) error {
		c.Late, c.Early = late.Params().Export(), early.Params().Export()
		return nil
	})
	if err != nil {
		return "", err
	}
	return bundle.Write(r.cfg.Out, c)
}
