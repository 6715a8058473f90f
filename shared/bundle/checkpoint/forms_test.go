package checkpoint

import (
	"bytes"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"videosim/shared/bundle"
)

const tiny = "testdata/tiny" // made by testdata/checkpoints.py

func open(t *testing.T, dir string) *Encoder {
	t.Helper()
	e, err := OpenEncoder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func valuesOf(t *testing.T, tensors []bundle.NamedTensor) map[string][]float32 {
	t.Helper()
	out := map[string][]float32{}
	for _, x := range tensors {
		values, err := x.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		out[x.Name] = values
	}
	return out
}

// One network in every form that Hugging Face's and PyTorch's writers have:
// the values are the same, bit for bit where the form keeps them.
func TestForms(t *testing.T) {
	plain := open(t, filepath.Join(tiny, "safetensors"))
	want := valuesOf(t, plain.Tensors)
	if len(want) != 39 || len(plain.Notes) != 0 {
		t.Fatalf("%d tensors with notes %q, expected 39 without", len(want), plain.Notes)
	}
	for _, c := range []struct {
		form     string
		gate     float64 // largest difference, relative to the value
		noPooler bool
		notes    []string
	}{
		{form: "bin"},
		{form: "bin_legacy"},
		{form: "bin_protocol4"},
		{form: "bin_wrapped", notes: []string{"left out 2 tensors of other parts: module.cls.predictions.decoder.weight, module.cls.predictions.bias"}},
		{form: "bin_wrapped_legacy", notes: []string{"left out 2 tensors of other parts"}},
		{form: "sharded"},
		{form: "tokenizer_json"},
		{form: "no_pooler", noPooler: true, notes: []string{"no pooler"}},
		{form: "prefix_and_head", noPooler: true, notes: []string{"no pooler", "left out"}},
		{form: "fp16", gate: 1.0 / 1024, notes: []string{"converted 39 tensors from F16 to F32"}},
		{form: "bf16", gate: 1.0 / 128, notes: []string{"converted 39 tensors from BF16 to F32"}},
	} {
		t.Run(c.form, func(t *testing.T) {
			e := open(t, filepath.Join(tiny, c.form))
			got := valuesOf(t, e.Tensors)
			for name, values := range want {
				if c.noPooler && strings.HasPrefix(name, pooler) {
					continue
				}
				compareValues(t, name, got[name], values, c.gate)
			}
			if c.noPooler != (len(got) == len(want)-2) {
				t.Errorf("%d tensors of %d", len(got), len(want))
			}
			if len(e.Notes) != len(c.notes) {
				t.Errorf("notes %q, want %q", e.Notes, c.notes)
			}
			for i, note := range e.Notes[:min(len(e.Notes), len(c.notes))] {
				if !strings.HasPrefix(note, c.notes[i]) {
					t.Errorf("note %q, want %q", note, c.notes[i])
				}
			}
			if e.Config != plain.Config || !bytes.Equal(e.Vocab, plain.Vocab) {
				t.Errorf("config %+v and %d bytes of vocabulary, want %+v and %d", e.Config, len(e.Vocab), plain.Config, len(plain.Vocab))
			}
			if e.Tokenizer.LowerCase != (c.form != "tokenizer_json") {
				t.Errorf("lower case: %v", e.Tokenizer.LowerCase)
			}
		})
	}
}

func compareValues(t *testing.T, name string, got, want []float32, gate float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	for i := range want {
		if d := math.Abs(float64(got[i] - want[i])); d > gate*math.Abs(float64(want[i])) {
			t.Errorf("%s: value %d is %v, want %v", name, i, got[i], want[i])
			return
		}
	}
}

// copyFolder copies a folder of the fixtures for a test to spoil.
func copyFolder(t testing.TB, form string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(tiny, form))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// edit replaces old by new once in a file.
func edit(t testing.TB, path, old, new string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s has no %q", path, old)
	}
	write(t, path, strings.Replace(string(data), old, new, 1))
}

func write(t testing.TB, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// rewrite changes the tensors of a folder's model.safetensors.
func rewrite(t testing.TB, dir string, change func(map[string]bundle.NamedTensor)) {
	t.Helper()
	path := filepath.Join(dir, safetensorsFile)
	tensors, err := bundle.ReadSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]bundle.NamedTensor{}
	for _, x := range tensors {
		byName[x.Name] = x
	}
	change(byName)
	out := make([]bundle.NamedTensor, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		x := byName[name]
		x.Name = name
		out = append(out, x)
	}
	if err := bundle.WriteSafetensors(path, out); err != nil {
		t.Fatal(err)
	}
}

func TestSettingsOfTheTokenizer(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		config string
		want   TokenizerSettings
	}{
		"none":     {`{}`, TokenizerSettings{LowerCase: true, SplitCJK: true}},
		"cased":    {`{"do_lower_case": false}`, TokenizerSettings{SplitCJK: true}},
		"accents":  {`{"do_lower_case": false, "strip_accents": true}`, TokenizerSettings{SplitCJK: true, StripAccents: &yes}},
		"kept":     {`{"strip_accents": false, "tokenize_chinese_chars": false}`, TokenizerSettings{LowerCase: true, StripAccents: &no}},
		"specials": {`{"cls_token": {"content": "[CLS]"}, "sep_token": "[SEP]", "never_split": null}`, TokenizerSettings{LowerCase: true, SplitCJK: true}},
	} {
		dir := copyFolder(t, "safetensors")
		write(t, filepath.Join(dir, "tokenizer_config.json"), c.config)
		got := open(t, dir).Tokenizer
		if got.LowerCase != c.want.LowerCase || got.SplitCJK != c.want.SplitCJK || (got.StripAccents == nil) != (c.want.StripAccents == nil) ||
			got.StripAccents != nil && *got.StripAccents != *c.want.StripAccents {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	// tokenizer.json speaks where tokenizer_config.json is silent, and only there
	dir := copyFolder(t, "tokenizer_json")
	write(t, filepath.Join(dir, "tokenizer_config.json"), `{"do_lower_case": true}`)
	if !open(t, dir).Tokenizer.LowerCase {
		t.Error("tokenizer_config.json does not win over tokenizer.json")
	}
}

func TestAddedTokensAreNoted(t *testing.T) {
	dir := copyFolder(t, "safetensors")
	write(t, filepath.Join(dir, "tokenizer_config.json"), `{"tokenizer_class": "ElectraTokenizer",
		"added_tokens_decoder": {"0": {"content": "[PAD]", "special": true}, "49": {"content": "<user>"}}}`)
	want := "1 tokens were added to the vocabulary and are read as ordinary text here: <user>"
	if got := open(t, dir).Notes; !slices.Equal(got, []string{want}) {
		t.Errorf("notes %q, want %q", got, want)
	}
}

func TestOneTokenTypeBecomesTwo(t *testing.T) {
	dir := copyFolder(t, "safetensors")
	edit(t, filepath.Join(dir, "config.json"), `"type_vocab_size": 2`, `"type_vocab_size": 1`)
	rewrite(t, dir, func(x map[string]bundle.NamedTensor) {
		table := x[typeTable]
		table.Shape, table.Data = []int64{1, 9}, table.Data[:36]
		x[typeTable] = table
	})
	e := open(t, dir)
	values := valuesOf(t, e.Tensors)[typeTable]
	if e.Config.TypeVocab != 2 || len(values) != 18 || !slices.Equal(values[:9], values[9:]) {
		t.Errorf("%d types with %d values, expected 2 equal rows", e.Config.TypeVocab, len(values))
	}
}
