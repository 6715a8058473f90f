package trainer

import (
	"context"
	"fmt"
	"math"
	"strings"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/video"
)

// defaultResamples is how many resamples a confidence interval takes.
const defaultResamples = 1000

// maxResamples bounds the time of an interval to some minutes.
const maxResamples = 1_000_000

// EvaluateConfig says which pairs are scored, and by whom: a bundle over a
// data folder, or a running gateway.
type EvaluateConfig struct {
	Labels  string `name:"labels" required:"" type:"path" help:"Judged pairs, a line each: id, id, label, separated by tabs."`
	Bundle  string `name:"bundle" type:"path" xor:"scorer" help:"Bundle to evaluate; needs --data."`
	Data    string `name:"data" type:"path" help:"Data folder with the records of the judged videos."`
	Gateway string `name:"gateway" xor:"scorer" help:"Address of a gateway to ask instead, like http://127.0.0.1:8080."`
	APIKey  string `name:"api-key" secret:"" help:"API key for the gateway."`

	Bootstrap int    `name:"bootstrap" default:"1000" help:"Resamples for the confidence interval; 0 leaves it out."`
	Report    string `name:"report" type:"path" help:"HTML page to write: scores against labels, calibration, the worst pairs."`

	Engine EngineConfig `embed:""`
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
	case c.Bootstrap < 0 || c.Bootstrap > maxResamples:
		return errs.Field("bootstrap", "expected 0 to %d, found %d", maxResamples, c.Bootstrap)
	}
	return nil
}

// Evaluation is how well scores follow the labels.
type Evaluation struct {
	eval.Result
	Scores   []float64     // calibrated, of the scored pairs
	Interval eval.Interval // of Spearman
	ByLabel  []eval.Tenth
	ByScore  []eval.Tenth

	model  bundle.Manifest   // of the bundle; of a gateway the fingerprint alone
	titles map[string]string // of videos, as far as they are known
}

// Evaluate scores the judged pairs, compares the scores with the labels and
// writes the report that cfg asks for.
func Evaluate(ctx context.Context, cfg EvaluateConfig) (Evaluation, error) {
	if err := cfg.Validate(); err != nil {
		return Evaluation{}, err
	}
	score := evaluateBundle
	if cfg.Gateway != "" {
		score = evaluateByGateway
	}
	e, err := score(ctx, cfg)
	if err != nil {
		return e, err
	}
	if err := e.describe(ctx, cfg.Bootstrap); err != nil || cfg.Report == "" {
		return e, err
	}
	report, err := evaluationReport(cfg, e)
	if err != nil {
		return e, err
	}
	return e, writeReport(cfg.Report, report)
}

func evaluateBundle(ctx context.Context, cfg EvaluateConfig) (Evaluation, error) {
	var e Evaluation
	pairs, err := readPairs(cfg.Labels)
	if err != nil {
		return e, err
	}
	if e.model, err = bundle.ReadManifest(cfg.Bundle); err != nil {
		return e, err
	}
	embeddings, titles, err := embedIDs(ctx, cfg, pairIDs(pairs))
	if err != nil {
		return e, err
	}
	e.titles = titles
	e.Result = eval.Evaluate(pairs, lookup(embeddings))
	e.Scores = calibrated(e.model.Calibration, e.Cosines)
	return e, nil
}

func calibrated(c eval.Calibration, cosines []float64) []float64 {
	scores := make([]float64, len(cosines))
	for i, x := range cosines {
		scores[i] = c.Score(x)
	}
	return scores
}

// describe fills what follows from the scores.
func (e *Evaluation) describe(ctx context.Context, resamples int) (err error) {
	e.ByLabel = eval.Tenths(e.Labels, e.Labels, e.Cosines, e.Scores)
	e.ByScore = eval.Tenths(e.Scores, e.Labels, e.Cosines, e.Scores)
	e.Interval, err = eval.SpearmanInterval(ctx, e.Labels, e.Cosines, resamples, 1)
	return err
}

// meanAbsError of the scores; NaN without any.
func (e *Evaluation) meanAbsError() float64 {
	sum := 0.0
	for _, t := range e.ByLabel {
		if t.Pairs > 0 {
			sum += float64(t.Pairs) * t.MeanAbsError
		}
	}
	return sum / float64(len(e.Scores))
}

// embedIDs returns the embeddings and titles of those ids that the data folder
// has.
func embedIDs(ctx context.Context, cfg EvaluateConfig, ids []string) (embeddings map[string][]float32, titles map[string]string, err error) {
	videos, err := findVideos(ctx, cfg.Data, ids)
	if err != nil {
		return nil, nil, err
	}
	defer videos.Close()
	there := videos.known(ids)
	e, err := openEmbedder(cfg.Bundle, cfg.Engine)
	if err != nil {
		return nil, nil, err
	}
	defer e.Close()
	embeddings, titles = make(map[string][]float32, len(there)), make(map[string]string, len(there))
	read := func(i int) (video.Video, error) { // on one goroutine, which has ended when each returns
		v, err := videos.video(there[i])
		titles[v.ID] = v.Title
		return v, err
	}
	err = e.each(ctx, len(there), read, func(ids []string, h model.Halves) error {
		for i, id := range ids {
			sum, err := eval.Combine(h.Late[i], h.Early[i])
			if err != nil {
				return fmt.Errorf("video %q: %w", id, err)
			}
			embeddings[id] = sum
		}
		return nil
	})
	return embeddings, titles, err
}

// Summary is the last line of an evaluation, in a form that scripts read.
func Summary(r eval.Result) string {
	return fmt.Sprintf("spearman=%.4f pairs=%d missing=%d", r.Spearman, r.Pairs, r.Missing)
}

// calibrationError is by how much scores and labels of similar score differ.
func (e *Evaluation) calibrationError() float64 { return eval.CalibrationError(e.ByScore) }

// Figures are the lines above the summary: the interval, and where on the
// scale the scores err.
func (e *Evaluation) Figures() string {
	var b strings.Builder
	if e.Interval.Resamples > 0 {
		fmt.Fprintf(&b, "95 %% interval of spearman: %.4f to %.4f (bootstrap over pairs, %d resamples)\n", e.Interval.Low, e.Interval.High, e.Interval.Resamples)
	}
	fmt.Fprintf(&b, "mean absolute error %s, calibration error %s\n", figure(e.meanAbsError()), figure(e.calibrationError()))
	fmt.Fprintf(&b, "%-12s %8s %11s %11s %11s %10s\n", "label", "pairs", "mean label", "mean score", "abs. error", "spearman")
	for _, t := range e.ByLabel {
		fmt.Fprintf(&b, "%.1f to %.1f   %8d %11s %11s %11s %10s\n", t.From, t.To, t.Pairs,
			cell(t.MeanLabel), cell(t.MeanScore), cell(t.MeanAbsError), cell(t.Spearman))
	}
	return b.String()
}

// cell is a figure in a table; what is undefined is a dash.
func cell(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.3f", x)
}
