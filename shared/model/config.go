package model

import (
	"bytes"
	"encoding/json"

	"videosim/shared/errs"
	"videosim/shared/nn"
	"videosim/shared/text"
	"videosim/shared/video"
)

// Config fixes both models: every size, and the settings in which a new model
// differs from the reference. It is a bundle's config.json.
type Config struct {
	Text  TextConfig  `json:"text" yaml:"text"`
	Video VideoConfig `json:"video" yaml:"video"`
	Cross CrossConfig `json:"cross" yaml:"cross"`

	Tags      int `json:"tags" yaml:"tags"`           // columns of the tag heads, used in pretraining
	Embedding int `json:"embedding" yaml:"embedding"` // values of an embedding

	Frames      int `json:"frames" yaml:"frames"`             // most frames a video, one a second
	LateTokens  int `json:"late_tokens" yaml:"late_tokens"`   // most tokens of title and speech text
	EarlyTokens int `json:"early_tokens" yaml:"early_tokens"` // most tokens of the title; frames take the positions after

	// AttendPaddingFrames lets the video transformer attend to the zeros that
	// fill a short video up to Frames, as the reference does. Its checkpoints
	// were trained so and need it; a new model is better off without.
	AttendPaddingFrames bool `json:"attend_padding_frames" yaml:"attend_padding_frames"`
	// LiteralSpecialTokens says what "[SEP]" and its like typed into a title
	// become: "ids", the special tokens, as in the reference; or "text".
	LiteralSpecialTokens string `json:"literal_special_tokens" yaml:"literal_special_tokens"`
	// Tokenizer is left out where it is that of the published checkpoints.
	Tokenizer TokenizerConfig `json:"tokenizer,omitzero" yaml:"tokenizer,omitempty"`
}

// TokenizerConfig says how text is prepared before it is cut into tokens. The
// zero value is uncased BERT's; package text explains the values.
type TokenizerConfig struct {
	Cased    bool   `json:"cased,omitempty" yaml:"cased,omitempty"`
	Accents  string `json:"accents,omitempty" yaml:"accents,omitempty"`
	WholeCJK bool   `json:"whole_cjk,omitempty" yaml:"whole_cjk,omitempty"`
}

// TextOptions are the options of the tokenizer that belongs to the models.
func (c Config) TextOptions() text.Options {
	return text.Options{
		LiteralSpecialTokens: c.LiteralSpecialTokens,
		Cased:                c.Tokenizer.Cased, Accents: c.Tokenizer.Accents, WholeCJK: c.Tokenizer.WholeCJK,
	}
}

// TextConfig sizes the text encoders of both models; the cross-modal encoder
// shares all that CrossConfig does not set.
type TextConfig struct {
	Vocab        int     `json:"vocab" yaml:"vocab"`
	Hidden       int     `json:"hidden" yaml:"hidden"`
	Layers       int     `json:"layers" yaml:"layers"`
	Heads        int     `json:"heads" yaml:"heads"`
	Intermediate int     `json:"intermediate" yaml:"intermediate"`
	MaxPosition  int     `json:"max_position" yaml:"max_position"`
	TypeVocab    int     `json:"type_vocab" yaml:"type_vocab"`
	LayerNormEps float64 `json:"layer_norm_eps" yaml:"layer_norm_eps"`
	Dropout      float64 `json:"dropout" yaml:"dropout"`
	// PadToken is the id of [PAD] in the vocabulary, whose row is not trained.
	PadToken int `json:"pad_token,omitempty" yaml:"pad_token,omitempty"`
}

// VideoConfig sizes the video transformer. Heads·HeadDim is the inner width of
// its attention and need not be FrameDim.
type VideoConfig struct {
	FrameDim     int     `json:"frame_dim" yaml:"frame_dim"`
	Depth        int     `json:"depth" yaml:"depth"`
	Heads        int     `json:"heads" yaml:"heads"`
	HeadDim      int     `json:"head_dim" yaml:"head_dim"`
	MLP          int     `json:"mlp" yaml:"mlp"`
	LayerNormEps float64 `json:"layer_norm_eps" yaml:"layer_norm_eps"`
	Dropout      float64 `json:"dropout" yaml:"dropout"`
}

// CrossConfig sizes the cross-modal encoder.
type CrossConfig struct {
	Layers       int `json:"layers" yaml:"layers"`
	Heads        int `json:"heads" yaml:"heads"`
	Intermediate int `json:"intermediate" yaml:"intermediate"`
	// MaxPosition is the length of its position table; 0 takes the text
	// encoder's, as the reference does. A short text encoder needs more here.
	MaxPosition int `json:"max_position,omitempty" yaml:"max_position,omitempty"`
}

// Preset returns a complete config by name: "base", the sizes of the published
// system with the settings for new training, or "tiny", the same structure
// small enough to train in about two minutes on two cores.
func Preset(name string) (Config, error) {
	switch name {
	case "base":
		return base(), nil
	case "tiny":
		return tiny(), nil
	}
	return Config{}, errs.Field("preset", "expected base or tiny, found %q", name)
}

func base() Config {
	return Config{
		Text: TextConfig{
			Vocab: 21128, Hidden: 768, Layers: 12, Heads: 12, Intermediate: 3072,
			MaxPosition: 512, TypeVocab: 2, LayerNormEps: 1e-12, Dropout: 0.1,
		},
		Video: VideoConfig{
			FrameDim: 1536, Depth: 6, Heads: 12, HeadDim: 256, MLP: 3072,
			LayerNormEps: nn.DefaultEps, Dropout: 0.1,
		},
		Cross:                CrossConfig{Layers: 6, Heads: 8, Intermediate: 3072},
		Tags:                 10000,
		Embedding:            256,
		Frames:               32,
		LateTokens:           64,
		EarlyTokens:          32,
		LiteralSpecialTokens: "text",
	}
}

func tiny() Config {
	c := base()
	c.Text.Hidden, c.Text.Layers, c.Text.Heads, c.Text.Intermediate = 64, 2, 4, 128
	c.Text.MaxPosition = 64 // the longer of LateTokens and EarlyTokens+Frames
	c.Text.Dropout = 0
	c.Video = VideoConfig{
		FrameDim: 128, Depth: 2, Heads: 4, HeadDim: 64, MLP: 256,
		LayerNormEps: nn.DefaultEps, Dropout: 0,
	}
	c.Cross = CrossConfig{Layers: 2, Heads: 4, Intermediate: 128}
	c.Tags = 200
	return c
}

// Reference returns c with the settings under which the published checkpoints
// were trained.
func (c Config) Reference() Config {
	c.AttendPaddingFrames, c.LiteralSpecialTokens = true, "ids"
	return c
}

// ParseConfig reads a bundle's config.json. Unknown keys are errors.
func ParseConfig(data []byte) (Config, error) {
	var c Config
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Config{}, errs.New(errs.Invalid, "model config: %w", err)
	}
	return c, c.Validate()
}

// Validate says what is wrong with c, as Invalid with the field.
func (c Config) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"text.vocab", c.Text.Vocab}, {"text.hidden", c.Text.Hidden}, {"text.layers", c.Text.Layers},
		{"text.heads", c.Text.Heads}, {"text.intermediate", c.Text.Intermediate},
		{"text.max_position", c.Text.MaxPosition},
		{"video.frame_dim", c.Video.FrameDim}, {"video.depth", c.Video.Depth}, {"video.heads", c.Video.Heads},
		{"video.head_dim", c.Video.HeadDim}, {"video.mlp", c.Video.MLP},
		{"cross.layers", c.Cross.Layers}, {"cross.heads", c.Cross.Heads}, {"cross.intermediate", c.Cross.Intermediate},
		{"tags", c.Tags}, {"embedding", c.Embedding},
		{"frames", c.Frames}, {"late_tokens", c.LateTokens}, {"early_tokens", c.EarlyTokens},
	} {
		if f.value < 1 {
			return errs.Field(f.name, "expected at least 1, found %d", f.value)
		}
	}
	if err := c.validateNorms(); err != nil {
		return err
	}
	return c.validateTogether()
}

func (c Config) validateNorms() error {
	for _, f := range []struct {
		name         string
		eps, dropout float64
	}{
		{"text", c.Text.LayerNormEps, c.Text.Dropout},
		{"video", c.Video.LayerNormEps, c.Video.Dropout},
	} {
		if !(f.eps > 0 && f.eps < 1) {
			return errs.Field(f.name+".layer_norm_eps", "expected a number above 0 and below 1, found %v", f.eps)
		}
		if !(f.dropout >= 0 && f.dropout < 1) {
			return errs.Field(f.name+".dropout", "expected 0 or more and below 1, found %v", f.dropout)
		}
	}
	return nil
}

// validateTogether checks what depends on several fields.
func (c Config) validateTogether() error {
	switch {
	case c.Text.Hidden%c.Text.Heads != 0:
		return errs.Field("text.heads", "expected a divisor of text.hidden %d, found %d", c.Text.Hidden, c.Text.Heads)
	case c.Text.Hidden%c.Cross.Heads != 0:
		return errs.Field("cross.heads", "expected a divisor of text.hidden %d, found %d", c.Text.Hidden, c.Cross.Heads)
	case c.Text.TypeVocab < 2:
		return errs.Field("text.type_vocab", "expected at least 2 (text and frames), found %d", c.Text.TypeVocab)
	case c.Text.PadToken < 0 || c.Text.PadToken >= c.Text.Vocab:
		return errs.Field("text.pad_token", "expected 0 to %d, found %d", c.Text.Vocab-1, c.Text.PadToken)
	case c.LateTokens > c.Text.MaxPosition:
		return errs.Field("late_tokens", "expected at most text.max_position %d, found %d", c.Text.MaxPosition, c.LateTokens)
	case c.EarlyTokens > c.Text.MaxPosition:
		return errs.Field("early_tokens", "expected at most text.max_position %d, found %d", c.Text.MaxPosition, c.EarlyTokens)
	case c.Cross.MaxPosition < 0:
		return errs.Field("cross.max_position", "expected 0 or more, found %d", c.Cross.MaxPosition)
	case c.EarlyTokens+c.Frames > c.crossPositions():
		return errs.Field("text.max_position", "expected at least early_tokens + frames = %d here or in cross.max_position, found %d",
			c.EarlyTokens+c.Frames, c.crossPositions())
	case c.LiteralSpecialTokens != text.LiteralIDs && c.LiteralSpecialTokens != text.LiteralText:
		return errs.Field("literal_special_tokens", "expected ids or text, found %q", c.LiteralSpecialTokens)
	case c.Tokenizer.Accents != text.AccentsByCase && c.Tokenizer.Accents != text.AccentsStrip && c.Tokenizer.Accents != text.AccentsKeep:
		return errs.Field("tokenizer.accents", "expected strip, keep or none, found %q", c.Tokenizer.Accents)
	}
	return nil
}

// Collate returns how a batch for these models is made. padToLongest changes
// the work, not the result.
func (c Config) Collate(padToLongest bool) video.CollateConfig {
	return video.CollateConfig{
		LateTokens: c.LateTokens, EarlyTokens: c.EarlyTokens,
		Frames: c.Frames, FrameDim: c.Video.FrameDim, PadToLongest: padToLongest,
	}
}

func (t TextConfig) bert() nn.BERTConfig {
	return nn.BERTConfig{
		Vocab: t.Vocab, Hidden: t.Hidden, Layers: t.Layers, Heads: t.Heads, Intermediate: t.Intermediate,
		MaxPosition: t.MaxPosition, TypeVocab: t.TypeVocab, LayerNormEps: t.LayerNormEps, Dropout: t.Dropout, Padding: t.PadToken,
	}
}

func (c Config) crossPositions() int {
	if c.Cross.MaxPosition > 0 {
		return c.Cross.MaxPosition
	}
	return c.Text.MaxPosition
}

// cross is the cross-modal encoder: as wide as the text encoder, with tables
// of the same sizes unless the config says otherwise.
func (c Config) cross() nn.BERTConfig {
	b := c.Text.bert()
	b.Layers, b.Heads, b.Intermediate = c.Cross.Layers, c.Cross.Heads, c.Cross.Intermediate
	b.MaxPosition = c.crossPositions()
	return b
}

func (v VideoConfig) transformer() nn.VideoConfig {
	return nn.VideoConfig{
		FrameDim: v.FrameDim, Depth: v.Depth, Heads: v.Heads, HeadDim: v.HeadDim, MLP: v.MLP,
		LayerNormEps: v.LayerNormEps, Dropout: v.Dropout,
	}
}

// layers is how many a batch passes, through all towers of both models.
func (c Config) layers() int { return 2*c.Text.Layers + c.Video.Depth + c.Cross.Layers }
