package trainer

import (
	"context"
	"fmt"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/video"
)

// EvaluateConfig says which pairs are scored, and by whom: a bundle over a
// data folder, or a running gateway.
type EvaluateConfig struct {
	Labels  string       `name:"labels" required:"" type:"path" help:"Judged pairs, a line each: id, id, label, separated by tabs."`
	Bundle  string       `name:"bundle" type:"path" xor:"scorer" help:"Bundle to evaluate; needs --data."`
	Data    string       `name:"data" type:"path" help:"Data folder with the records of the judged videos."`
	Gateway string       `name:"gateway" xor:"scorer" help:"Address of a gateway to ask instead, like http://127.0.0.1:8080."`
	APIKey  string       `name:"api-key" secret:"" help:"API key for the gateway."`
	Engine  EngineConfig `embed:""`
}

// Validate checks that there is exactly one scorer.
func (c EvaluateConfig) Validate() error {
	switch {
	case c.Labels == "":
		return errs.Field("labels", "expected a file, found none")
	case (c.Bundle == "") == (c.Gateway == ""):
		return errs.Field("bundle", "expected either a bundle or a gateway")
	case c.Bundle != "" && c.Data == "":
		return errs.Field("data", "expected the data folder with the judged videos, found none")
	}
	return nil
}

// Evaluate scores the judged pairs and compares the scores with the labels.
func Evaluate(ctx context.Context, cfg EvaluateConfig) (eval.Result, error) {
	if err := cfg.Validate(); err != nil {
		return eval.Result{}, err
	}
	if cfg.Gateway != "" {
		return askGateway(ctx, cfg)
	}
	pairs, err := readPairs(cfg.Labels)
	if err != nil {
		return eval.Result{}, err
	}
	embeddings, err := embedIDs(ctx, cfg, pairIDs(pairs))
	if err != nil {
		return eval.Result{}, err
	}
	return eval.Evaluate(pairs, func(id string) ([]float32, bool) { e, ok := embeddings[id]; return e, ok }), nil
}

// embedIDs returns the embeddings of those ids that the data folder has.
func embedIDs(ctx context.Context, cfg EvaluateConfig, ids []string) (map[string][]float32, error) {
	folder, err := video.OpenFolder(cfg.Data)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	videos, err := newCatalogue(ctx, folder.Pointwise, folder.Pairwise)
	if err != nil {
		return nil, err
	}
	var there []record
	for _, id := range ids {
		if r, ok := videos.where[id]; ok {
			there = append(there, r)
		}
	}
	e, err := openEmbedder(cfg.Bundle, cfg.Engine)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	out := make(map[string][]float32, len(there))
	err = e.each(ctx, len(there), func(i int) (video.Video, error) { return there[i].read() }, func(ids []string, h model.Halves) error {
		for i, id := range ids {
			sum, err := eval.Combine(h.Late[i], h.Early[i])
			if err != nil {
				return fmt.Errorf("video %q: %w", id, err)
			}
			out[id] = sum
		}
		return nil
	})
	return out, err
}

// Summary is the last line of an evaluation, in a form that scripts read.
func Summary(r eval.Result) string {
	return fmt.Sprintf("spearman=%.4f pairs=%d missing=%d", r.Spearman, r.Pairs, r.Missing)
}
