package trainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"videosim/shared/bundle"
	"videosim/shared/bundle/checkpoint"
	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/text"
	"videosim/shared/torch"
)

// importReference makes a bundle of the published system's two state dicts.
func importReference(ctx context.Context, cfg ImportConfig) (made Imported, err error) {
	late, err := checkpoint.OpenStateDict(cfg.Late)
	if err != nil {
		return made, fmt.Errorf("import: %w", err)
	}
	defer func() { err = errors.Join(err, late.Close()) }()
	early, err := checkpoint.OpenStateDict(cfg.Early)
	if err != nil {
		return made, fmt.Errorf("import: %w", err)
	}
	defer func() { err = errors.Join(err, early.Close()) }()
	if made.Model, err = referenceModel(cfg, late, early); err != nil {
		return made, fmt.Errorf("import: %w", err)
	}
	c := bundle.Contents{Vocab: text.ChineseVocab()}
	if cfg.Vocab != "" {
		if c.Vocab, err = os.ReadFile(cfg.Vocab); err != nil {
			return made, errs.New(errs.Invalid, "vocab: %w", err)
		}
	}
	if c.Late, c.Early, err = fitReference(ctx, made.Model, late, early); err != nil {
		return made, err
	}
	if err := fitVocab(c.Vocab, &made.Model); err != nil {
		return made, fmt.Errorf("import: %w (name the vocabulary of these checkpoints by --vocab)", err)
	}
	if made.Fingerprint, err = writeImported(cfg.Out, made.Model, c); err != nil || cfg.Labels == "" {
		return made, err
	}
	if err := fitScale(ctx, cfg, &c.Manifest); err != nil {
		return made, fmt.Errorf("import: the bundle %s is written, its scores are not calibrated: %w", cfg.Out, err)
	}
	_, err = writeImported(cfg.Out, made.Model, c) // the manifest is no part of the fingerprint
	return made, err
}

// fitScale fits the scores of the new bundle to judged pairs.
func fitScale(ctx context.Context, cfg ImportConfig, manifest *bundle.Manifest) error {
	r, err := Evaluate(ctx, EvaluateConfig{Bundle: cfg.Out, Labels: cfg.Labels, Data: cfg.Data, Engine: EngineConfig{Device: "auto", Batch: measureBatch}})
	if err != nil {
		return err
	}
	if r.Pairs < 2 {
		return errs.Field("labels", "expected at least 2 judged pairs of videos in %s, found %d", cfg.Data, r.Pairs)
	}
	manifest.Calibration = eval.FitCalibration(r.Cosines, r.Labels)
	manifest.Metrics = map[string]float64{"spearman_calibration": r.Spearman, "calibration_pairs": float64(r.Pairs)}
	return nil
}

// fitReference compares both checkpoints with what the models need and
// converts them.
func fitReference(ctx context.Context, m model.Config, late, early *checkpoint.Checkpoint) (l, e []bundle.NamedTensor, err error) {
	engine, err := importEngine(0)
	if err != nil {
		return nil, nil, err
	}
	defer engine.Close()
	var wantLate, wantEarly []checkpoint.Want
	err = engine.Do(ctx, func(s *torch.Scope) error {
		blank := func() *nn.Params { return nn.NewParams(s, nn.Options{Blank: true}) }
		wantLate = model.NewLate(m, blank()).Params().Want()
		wantEarly = model.NewEarlyFinetuned(m, blank()).Params().Want()
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("import: build models of the checkpoints' sizes: %w", err)
	}
	if l, err = fit(wantLate, late); err != nil {
		return nil, nil, err
	}
	e, err = fit(wantEarly, early)
	return l, e, err
}

func fit(want []checkpoint.Want, c *checkpoint.Checkpoint) ([]bundle.NamedTensor, error) {
	if err := checkpoint.Compare(want, c.Tensors); err != nil {
		return nil, fmt.Errorf("import: %s: %w", c.Path, err)
	}
	out := make([]bundle.NamedTensor, len(c.Tensors))
	for i, t := range c.Tensors {
		if !isCounter(t.Name) {
			var err error
			if t, err = checkpoint.Float32(t); err != nil {
				return nil, fmt.Errorf("import: %s: %w", c.Path, err)
			}
		}
		out[i] = t
	}
	return out, nil
}

// isCounter reports whether a tensor counts batches, in whole numbers.
func isCounter(name string) bool { return strings.HasSuffix(name, "num_batches_tracked") }

// shapes reads sizes off tensors, by name.
type shapes map[string][]int64

func shapesOf(c *checkpoint.Checkpoint) shapes {
	s := make(shapes, len(c.Tensors))
	for _, t := range c.Tensors {
		s[t.Name] = t.Shape
	}
	return s
}

// axis is the size of one axis of a tensor. Where the tensor is missing or has
// another form it is usual, the published size: the comparison that
// follows then says what is wrong with it.
func (s shapes) axis(name string, axis, axes, usual int) int {
	shape, ok := s[name]
	if !ok || len(shape) != axes || shape[axis] < 1 || shape[axis] > maxWidth<<2 {
		return usual
	}
	return int(shape[axis])
}

// maxLayers bounds the depth that a checkpoint may have.
const maxLayers = 256

// layers counts the layers below prefix: the highest number in a name, plus 1.
func (s shapes) layers(prefix string, usual int) int {
	most := 0
	for name := range s {
		rest, ok := strings.CutPrefix(name, prefix)
		number, _, dot := strings.Cut(rest, ".")
		if n, err := strconv.Atoi(number); ok && dot && err == nil && n < maxLayers {
			most = max(most, n+1)
		}
	}
	if most == 0 {
		return usual
	}
	return most
}

// referenceModel reads the sizes off both checkpoints. Heads leave no trace in
// a shape; the flags tell them.
func referenceModel(cfg ImportConfig, lateFile, earlyFile *checkpoint.Checkpoint) (model.Config, error) {
	m, err := model.Preset("base")
	if err != nil {
		return m, err
	}
	m = m.Reference()
	late, early := shapesOf(lateFile), shapesOf(earlyFile)
	const words, positions, kinds = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"
	t := &m.Text
	t.Vocab = late.axis(lateEncoder+words, 0, 2, t.Vocab)
	t.Hidden = late.axis(lateEncoder+words, 1, 2, t.Hidden)
	t.MaxPosition = late.axis(lateEncoder+positions, 0, 2, t.MaxPosition)
	t.TypeVocab = late.axis(lateEncoder+kinds, 0, 2, t.TypeVocab)
	t.Layers = late.layers(lateEncoder+"encoder.layer.", t.Layers)
	t.Intermediate = late.axis(lateEncoder+"encoder.layer.0.intermediate.dense.weight", 0, 2, t.Intermediate)
	t.Heads = cfg.Heads
	const cross = "bert.multi_bert."
	m.Cross.Layers = early.layers(cross+"encoder.layer.", m.Cross.Layers)
	m.Cross.Intermediate = early.axis(cross+"encoder.layer.0.intermediate.dense.weight", 0, 2, m.Cross.Intermediate)
	fill(&cfg.CrossHeads, m.Cross.Heads)
	m.Cross.Heads = cfg.CrossHeads
	if n := early.axis(cross+positions, 0, 2, t.MaxPosition); n != t.MaxPosition {
		m.Cross.MaxPosition = n
	}
	m.Embedding = late.axis("text_embed.weight", 0, 2, m.Embedding)
	m.Tags = late.axis("text_model.cls.weight", 0, 2, m.Tags)
	if err := referenceVideo(cfg, late, &m.Video); err != nil {
		return m, err
	}
	return m, m.Validate()
}

func referenceVideo(cfg ImportConfig, late shapes, v *model.VideoConfig) error {
	const at = "video_model.video_model."
	v.FrameDim = late.axis(at+"cls_token", 2, 3, v.FrameDim)
	v.Depth = late.layers(at+"layers.", v.Depth)
	v.MLP = late.axis(at+"layers.0.1.fn.fn.net.0.weight", 0, 2, v.MLP)
	inner := late.axis(at+"layers.0.0.fn.fn.to_out.0.weight", 1, 2, v.Heads*v.HeadDim)
	if v.Heads = cfg.VideoHeads; inner%v.Heads != 0 {
		return errs.Field("video-heads", "expected a divisor of the attention's width %d, found %d", inner, v.Heads)
	}
	v.HeadDim = inner / v.Heads
	return nil
}
