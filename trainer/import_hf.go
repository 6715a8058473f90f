package trainer

import (
	"context"
	"errors"
	"fmt"

	"videosim/shared/bundle"
	"videosim/shared/bundle/checkpoint"
	"videosim/shared/errs"
	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/text"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// Where the text encoder stands in each model.
const (
	lateEncoder  = "text_model.text_model."
	earlyEncoder = "bert.text_model."
)

// importEncoder puts a BERT from a Hugging Face folder into both models.
func importEncoder(ctx context.Context, cfg ImportConfig) (made Imported, err error) {
	encoder, err := checkpoint.OpenEncoder(cfg.HF)
	if err != nil {
		return made, fmt.Errorf("import: %w", err)
	}
	defer func() { err = errors.Join(err, encoder.Close()) }()
	made.Notes = encoder.Notes
	if made.Model, err = encoderModel(cfg, encoder); err != nil {
		return made, err
	}
	if err := fitVocab(encoder.Vocab, &made.Model); err != nil {
		return made, fmt.Errorf("import: %s: %w", cfg.HF, err)
	}
	c := bundle.Contents{Vocab: encoder.Vocab, Manifest: bundle.Manifest{Preset: cfg.Preset}}
	if c.Late, c.Early, err = newModels(ctx, made.Model, cfg.Seed); err != nil {
		return made, err
	}
	replace(c.Late, lateEncoder, encoder.Tensors)
	replace(c.Early, earlyEncoder, encoder.Tensors)
	made.Fingerprint, err = writeImported(cfg.Out, made.Model, c)
	return made, err
}

// encoderModel is the preset around the folder's text encoder.
func encoderModel(cfg ImportConfig, e *checkpoint.Encoder) (model.Config, error) {
	m, err := model.Preset(cfg.Preset)
	if err != nil {
		return m, err
	}
	b := e.Config
	m.Text = model.TextConfig{
		Vocab: b.Vocab, Hidden: b.Hidden, Layers: b.Layers, Heads: b.Heads, Intermediate: b.Intermediate,
		MaxPosition: b.MaxPosition, TypeVocab: b.TypeVocab, LayerNormEps: b.LayerNormEps, Dropout: b.Dropout,
	}
	m.Tokenizer = tokenizerConfig(e.Tokenizer)
	m.LiteralSpecialTokens = cfg.LiteralSpecialTokens
	m.LateTokens, m.EarlyTokens = min(m.LateTokens, b.MaxPosition), min(m.EarlyTokens, b.MaxPosition)
	m.Cross.Intermediate = b.Intermediate
	switch {
	case cfg.CrossHeads > 0:
		m.Cross.Heads = cfg.CrossHeads
	case b.Hidden%m.Cross.Heads != 0:
		m.Cross.Heads = b.Heads
	}
	if needed := m.EarlyTokens + m.Frames; needed > b.MaxPosition {
		m.Cross.MaxPosition = needed
	}
	if err := dataSizes(cfg, &m); err != nil {
		return m, err
	}
	return m, m.Validate()
}

func tokenizerConfig(s checkpoint.TokenizerSettings) model.TokenizerConfig {
	t := model.TokenizerConfig{Cased: !s.LowerCase, WholeCJK: !s.SplitCJK}
	switch {
	case s.StripAccents == nil || *s.StripAccents == s.LowerCase: // what follows from the case anyway
	case *s.StripAccents:
		t.Accents = text.AccentsStrip
	default:
		t.Accents = text.AccentsKeep
	}
	return t
}

// dataSizes sets frame width and tags: from the flags, else from the data,
// else they stay the preset's.
func dataSizes(cfg ImportConfig, m *model.Config) error {
	if cfg.Data != "" {
		frameDim, tags, err := folderSizes(cfg.Data)
		if err != nil {
			return fmt.Errorf("data folder %s: %w", cfg.Data, err)
		}
		m.Video.FrameDim, m.Tags = frameDim, tags
	}
	if cfg.FrameDim > 0 {
		m.Video.FrameDim = cfg.FrameDim
	}
	if cfg.Tags > 0 {
		m.Tags = cfg.Tags
	}
	return nil
}

func folderSizes(dir string) (frameDim, tags int, err error) {
	folder, err := video.OpenFolder(dir)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	if folder.Tags == nil {
		return 0, 0, errs.Field("tag_list.txt", "expected a list of tags, found none")
	}
	for _, set := range []*video.Set{folder.Pointwise, folder.Pairwise} {
		for i := range set.Len() {
			v, err := set.Video(i)
			if err != nil {
				return 0, 0, err
			}
			if v.Frames.Count > 0 {
				return v.Frames.Dim, folder.Tags.Len(), nil
			}
		}
	}
	return 0, 0, errs.Field("frames", "expected a video with frames, found none")
}

// newModels draws the first values of both models.
func newModels(ctx context.Context, m model.Config, seed uint64) (late, early []bundle.NamedTensor, err error) {
	engine, err := importEngine(seed)
	if err != nil {
		return nil, nil, err
	}
	defer engine.Close()
	draw := func(build func(p *nn.Params)) (drawn []bundle.NamedTensor, err error) {
		return drawn, engine.Do(ctx, func(s *torch.Scope) error {
			p := nn.NewParams(s, nn.Options{})
			build(p)
			drawn = p.Export()
			return nil
		})
	}
	if late, err = draw(func(p *nn.Params) { model.NewLate(m, p) }); err != nil {
		return nil, nil, err
	}
	early, err = draw(func(p *nn.Params) { model.NewEarlyFinetuned(m, p) })
	return late, early, err
}

// replace puts the encoder's tensors in the place of new ones. The config was
// made from the encoder, so every one has a place.
func replace(tensors []bundle.NamedTensor, prefix string, encoder []bundle.NamedTensor) {
	at := make(map[string]int, len(tensors))
	for i, t := range tensors {
		at[t.Name] = i
	}
	for _, t := range encoder {
		t.Name = prefix + t.Name
		tensors[at[t.Name]] = t
	}
}
