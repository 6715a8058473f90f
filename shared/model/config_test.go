package model

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"videosim/shared/errs"
	"videosim/shared/text"
)

func preset(t testing.TB, name string) Config {
	t.Helper()
	c, err := Preset(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPresetsAreValidAndSurviveTheirFormats(t *testing.T) {
	for _, name := range []string{"base", "tiny"} {
		c := preset(t, name).Reference()
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseConfig(data); err != nil || back != c {
			t.Errorf("%s through JSON: %+v, %v", name, back, err)
		}
		if data, err = yaml.Marshal(c); err != nil {
			t.Fatal(err)
		}
		var back Config
		if err := yaml.Unmarshal(data, &back); err != nil || back != c {
			t.Errorf("%s through YAML: %+v, %v", name, back, err)
		}
	}
	if _, err := Preset("huge"); errs.FieldOf(err) != "preset" {
		t.Errorf("an unknown preset: %v", err)
	}
}

func TestEveryKeyIsTheSameInJSONAndYAML(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			j, _, _ := strings.Cut(f.Tag.Get("json"), ",") // the ways to leave out a zero differ
			y, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if j == "" || j != y {
				t.Errorf("%s.%s: json %q, yaml %q", typ.Name(), f.Name, j, y)
			}
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}

func TestValidateNamesTheField(t *testing.T) {
	for field, spoil := range map[string]func(*Config){
		"text.vocab":             func(c *Config) { c.Text.Vocab = 0 },
		"text.heads":             func(c *Config) { c.Text.Heads = 5 },
		"text.layer_norm_eps":    func(c *Config) { c.Text.LayerNormEps = 0 },
		"text.dropout":           func(c *Config) { c.Text.Dropout = 1 },
		"text.type_vocab":        func(c *Config) { c.Text.TypeVocab = 1 },
		"text.max_position":      func(c *Config) { c.Frames = 600 },
		"video.dropout":          func(c *Config) { c.Video.Dropout = -0.1 },
		"video.head_dim":         func(c *Config) { c.Video.HeadDim = -1 },
		"cross.heads":            func(c *Config) { c.Cross.Heads = 7 },
		"cross.layers":           func(c *Config) { c.Cross.Layers = 0 },
		"tags":                   func(c *Config) { c.Tags = 0 },
		"embedding":              func(c *Config) { c.Embedding = 0 },
		"early_tokens":           func(c *Config) { c.EarlyTokens, c.Cross.MaxPosition = 513, 1000 },
		"text.pad_token":         func(c *Config) { c.Text.PadToken = 21128 },
		"cross.max_position":     func(c *Config) { c.Cross.MaxPosition = -1 },
		"tokenizer.accents":      func(c *Config) { c.Tokenizer.Accents = "some" },
		"late_tokens":            func(c *Config) { c.LateTokens = 513 },
		"literal_special_tokens": func(c *Config) { c.LiteralSpecialTokens = "" },
	} {
		c := preset(t, "base")
		spoil(&c)
		if err := c.Validate(); errs.KindOf(err) != errs.Invalid || errs.FieldOf(err) != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for _, data := range []string{``, `{"texts":{}}`, `{"tags":"many"}`, `{}`} {
		if _, err := ParseConfig([]byte(data)); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: got %v, want Invalid", data, err)
		}
	}
}

// Bundles that know nothing of a setting keep their bytes, so their fingerprint.
func TestSettingsAtTheirDefaultAreLeftOut(t *testing.T) {
	for _, name := range []string{"base", "tiny"} {
		c := preset(t, name)
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{`"tokenizer"`, `"max_position":0`, `"pad_token"`} {
			if strings.Contains(string(data), key) {
				t.Errorf("%s: %s in %s", name, key, data)
			}
		}
	}
}

func TestTextOptions(t *testing.T) {
	c := preset(t, "tiny")
	c.LiteralSpecialTokens = "ids"
	c.Tokenizer = TokenizerConfig{Cased: true, Accents: "strip", WholeCJK: true}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	want := text.Options{LiteralSpecialTokens: "ids", Cased: true, Accents: "strip", WholeCJK: true}
	if got := read.TextOptions(); got != want {
		t.Errorf("options %+v, want %+v", got, want)
	}
}
