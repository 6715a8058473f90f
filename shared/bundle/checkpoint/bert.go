package checkpoint

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"videosim/shared/errs"
)

// BERTConfig are the sizes of a BERT, from its config.json.
type BERTConfig struct {
	Vocab, Hidden, Layers, Heads, Intermediate int
	MaxPosition, TypeVocab                     int
	LayerNormEps, Dropout                      float64
}

// bertJSON is the part of config.json that decides what the network computes.
// A pointer tells a key that is missing from one that is 0.
type bertJSON struct {
	ModelType    *string  `json:"model_type"`
	HiddenAct    *string  `json:"hidden_act"`
	Positions    *string  `json:"position_embedding_type"`
	IsDecoder    bool     `json:"is_decoder"`
	CrossAttends bool     `json:"add_cross_attention"`
	Vocab        *int     `json:"vocab_size"`
	Hidden       *int     `json:"hidden_size"`
	Layers       *int     `json:"num_hidden_layers"`
	Heads        *int     `json:"num_attention_heads"`
	Intermediate *int     `json:"intermediate_size"`
	MaxPosition  *int     `json:"max_position_embeddings"`
	TypeVocab    *int     `json:"type_vocab_size"`
	LayerNormEps *float64 `json:"layer_norm_eps"`
	Dropout      *float64 `json:"hidden_dropout_prob"`
}

// ParseBERTConfig reads the config.json of a Hugging Face folder. What this
// suite's BERT does not compute is refused by the name of the key.
func ParseBERTConfig(data []byte) (BERTConfig, error) {
	var j bertJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return BERTConfig{}, errs.New(errs.Invalid, "config.json: %w", err)
	}
	if err := j.checkKind(); err != nil {
		return BERTConfig{}, err
	}
	return j.sizes()
}

func (j bertJSON) checkKind() error {
	for _, k := range []struct {
		key     string
		value   *string
		allowed []string
	}{
		{"model_type", j.ModelType, []string{"bert"}},
		{"hidden_act", j.HiddenAct, []string{"gelu", "gelu_python"}}, // both by erf
		{"position_embedding_type", j.Positions, []string{"absolute"}},
	} {
		if k.value != nil && !slices.Contains(k.allowed, *k.value) {
			return errs.Field("config.json: "+k.key, "expected %q, found %q", k.allowed[0], *k.value)
		}
	}
	for key, on := range map[string]bool{"is_decoder": j.IsDecoder, "add_cross_attention": j.CrossAttends} {
		if on {
			return errs.Field("config.json: "+key, "expected false (an encoder), found true")
		}
	}
	return nil
}

func (j bertJSON) sizes() (BERTConfig, error) {
	var c BERTConfig
	for _, s := range []struct {
		key    string
		value  *int
		into   *int
		preset int // where the key may be missing
		most   int // far above any BERT; bounds what is allocated
	}{
		{"vocab_size", j.Vocab, &c.Vocab, 0, 4 << 20},
		{"hidden_size", j.Hidden, &c.Hidden, 0, 16 << 10},
		{"num_hidden_layers", j.Layers, &c.Layers, 0, 256},
		{"num_attention_heads", j.Heads, &c.Heads, 0, 1 << 10},
		{"intermediate_size", j.Intermediate, &c.Intermediate, 0, 128 << 10},
		{"max_position_embeddings", j.MaxPosition, &c.MaxPosition, 512, 1 << 20},
		{"type_vocab_size", j.TypeVocab, &c.TypeVocab, 2, 1 << 10},
	} {
		*s.into = s.preset
		if s.value != nil {
			*s.into = *s.value
		}
		switch {
		case s.value == nil && s.preset == 0:
			return c, errs.Field("config.json: "+s.key, "expected a whole number, found none")
		case *s.into < 1 || *s.into > s.most:
			return c, errs.Field("config.json: "+s.key, "expected 1 to %d, found %d", s.most, *s.into)
		}
	}
	if c.Hidden%c.Heads != 0 {
		return c, errs.Field("config.json: num_attention_heads", "expected a divisor of hidden_size %d, found %d", c.Hidden, c.Heads)
	}
	return c, j.fractions(&c)
}

func (j bertJSON) fractions(c *BERTConfig) error {
	c.LayerNormEps, c.Dropout = 1e-12, 0.1
	if j.LayerNormEps != nil {
		c.LayerNormEps = *j.LayerNormEps
	}
	if j.Dropout != nil {
		c.Dropout = *j.Dropout
	}
	if !(c.LayerNormEps > 0 && c.LayerNormEps < 1) {
		return errs.Field("config.json: layer_norm_eps", "expected a number above 0 and below 1, found %v", c.LayerNormEps)
	}
	if !(c.Dropout >= 0 && c.Dropout < 1) || math.IsNaN(c.Dropout) {
		return errs.Field("config.json: hidden_dropout_prob", "expected 0 or more and below 1, found %v", c.Dropout)
	}
	return nil
}

// The names of BertModel's tensors that are special.
const (
	wordTable = "embeddings.word_embeddings.weight"
	typeTable = "embeddings.token_type_embeddings.weight"
	pooler    = "pooler."
)

// Tensors lists the tensors of BertModel, those of its pooler last.
func (c BERTConfig) Tensors() []Want {
	h, i := int64(c.Hidden), int64(c.Intermediate)
	want := []Want{
		{wordTable, []int64{int64(c.Vocab), h}},
		{"embeddings.position_embeddings.weight", []int64{int64(c.MaxPosition), h}},
		{typeTable, []int64{int64(c.TypeVocab), h}},
	}
	norm := func(name string) {
		want = append(want, Want{name + ".weight", []int64{h}}, Want{name + ".bias", []int64{h}})
	}
	linear := func(name string, out, in int64) {
		want = append(want, Want{name + ".weight", []int64{out, in}}, Want{name + ".bias", []int64{out}})
	}
	norm("embeddings.LayerNorm")
	for n := range c.Layers {
		at := fmt.Sprintf("encoder.layer.%d.", n)
		for _, part := range []string{"query", "key", "value"} {
			linear(at+"attention.self."+part, h, h)
		}
		linear(at+"attention.output.dense", h, h)
		norm(at + "attention.output.LayerNorm")
		linear(at+"intermediate.dense", i, h)
		linear(at+"output.dense", h, i)
		norm(at + "output.LayerNorm")
	}
	linear(pooler+"dense", h, h)
	return want
}

// modernName gives the names of the first release of BERT for PyTorch, which
// TensorFlow's gamma and beta shine through, their present form.
func modernName(name string) string {
	if base, ok := strings.CutSuffix(name, "LayerNorm.gamma"); ok {
		return base + "LayerNorm.weight"
	}
	if base, ok := strings.CutSuffix(name, "LayerNorm.beta"); ok {
		return base + "LayerNorm.bias"
	}
	return name
}

// isConstant reports whether a tensor only numbers the positions or types:
// older releases of transformers stored such.
func isConstant(name string) bool {
	return strings.HasSuffix(name, "embeddings.position_ids") || strings.HasSuffix(name, "embeddings.token_type_ids")
}
