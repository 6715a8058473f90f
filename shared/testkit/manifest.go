package testkit

import (
	"encoding/json"
	"math"
	"testing"
)

// Manifest describes one set of fixtures: for every file its tensors, and the
// settings of the run that made them.
type Manifest struct {
	Set      string                     `json:"set"`
	Sizes    Sizes                      `json:"sizes"`
	Files    map[string]json.RawMessage `json:"files"` // a few entries are a sentence
	Meanings []string                   `json:"meanings"`
}

// ReadManifest reads manifest.json of the set.
func ReadManifest(t testing.TB) *Manifest {
	t.Helper()
	m := new(Manifest)
	GoldenJSON(t, "manifest.json", m)
	return m
}

// Sizes are the dimensions of one set or file, under the manifest's names.
type Sizes map[string]float64

// Int returns a whole-number size; one that is missing fails the test.
func (s Sizes) Int(t testing.TB, name string) int {
	t.Helper()
	v := s.Float(t, name)
	if v != math.Trunc(v) {
		t.Fatalf("golden size %q: expected a whole number, found %v", name, v)
	}
	return int(v)
}

// Float returns a size such as an epsilon; one that is missing fails the test.
func (s Sizes) Float(t testing.TB, name string) float64 {
	t.Helper()
	v, ok := s[name]
	if !ok {
		t.Fatalf("golden size %q is not in the manifest", name)
	}
	return v
}

// IntOr returns a size that a file may leave out because it has its usual value.
func (s Sizes) IntOr(t testing.TB, name string, usual int) int {
	t.Helper()
	if _, ok := s[name]; !ok {
		return usual
	}
	return s.Int(t, name)
}

// FloatOr is IntOr for a size such as an epsilon.
func (s Sizes) FloatOr(t testing.TB, name string, usual float64) float64 {
	t.Helper()
	if _, ok := s[name]; !ok {
		return usual
	}
	return s.Float(t, name)
}

// FileInfo is what the manifest says about one file.
type FileInfo struct {
	Name       string
	Sizes      Sizes             // the file's own, else the set's
	Optimizer  *Optimizer        // nil where nothing was trained
	NoGradient []string          // parameters that never get a gradient
	Trainable  []string          // empty where every parameter is trained
	Frozen     []string          //
	Tensors    map[string]Tensor // what the file should hold, without values
	raw        map[string]json.RawMessage
}

// Optimizer is how a training case was stepped.
type Optimizer struct {
	Kind      string    `json:"kind"`
	LR        float64   `json:"lr"`
	Schedule  string    `json:"schedule"`
	Warmup    float64   `json:"warmup"`
	TTotal    float64   `json:"t_total"`
	B1        float64   `json:"b1"`
	B2        float64   `json:"b2"`
	Epsilon   float64   `json:"e"`
	ClipNorm  float64   `json:"max_grad_norm_per_parameter"`
	Factors   []float64 `json:"lr_multiplier_of_steps_0_to_4"`
	Decayed   []string  `json:"weight_decay_0_01"`
	Undecayed []string  `json:"weight_decay_0"`
}

// File returns what the manifest says about name, which must be described there.
func (m *Manifest) File(t testing.TB, name string) *FileInfo {
	t.Helper()
	entry, ok := m.Files[name]
	if !ok {
		t.Fatalf("golden file %q is not in the manifest", name)
	}
	var fields struct {
		Sizes      Sizes                        `json:"sizes"`
		Optimizer  *Optimizer                   `json:"optimizer"`
		NoGradient []string                     `json:"no_gradient"`
		Trainable  []string                     `json:"trainable"`
		Frozen     []string                     `json:"frozen"`
		Tensors    map[string][]json.RawMessage `json:"tensors"`
	}
	f := &FileInfo{Name: name, Sizes: m.Sizes}
	if err := json.Unmarshal(entry, &fields); err != nil {
		t.Fatalf("golden manifest, %s: %v", name, err)
	}
	if err := json.Unmarshal(entry, &f.raw); err != nil {
		t.Fatalf("golden manifest, %s: %v", name, err)
	}
	if fields.Sizes != nil {
		f.Sizes = fields.Sizes
	}
	f.Optimizer, f.NoGradient = fields.Optimizer, fields.NoGradient
	f.Trainable, f.Frozen = fields.Trainable, fields.Frozen
	f.Tensors = make(map[string]Tensor, len(fields.Tensors))
	for tensor, row := range fields.Tensors {
		f.Tensors[tensor] = manifestTensor(t, tensor, row)
	}
	return f
}

// manifestTensor reads [index into meanings, dtype, shape, …].
func manifestTensor(t testing.TB, name string, row []json.RawMessage) Tensor {
	t.Helper()
	tensor := Tensor{Name: name}
	if len(row) < 3 {
		t.Fatalf("golden manifest, tensor %q: expected [meaning, dtype, shape], found %s", name, row)
	}
	if err := json.Unmarshal(row[1], &tensor.DType); err != nil {
		t.Fatalf("golden manifest, tensor %q: dtype: %v", name, err)
	}
	if err := json.Unmarshal(row[2], &tensor.Shape); err != nil {
		t.Fatalf("golden manifest, tensor %q: shape: %v", name, err)
	}
	return tensor
}

// Decode decodes one more entry of the file's description, such as "cases" or
// "formula", into v; an entry that is missing fails the test.
func (f *FileInfo) Decode(t testing.TB, key string, v any) {
	t.Helper()
	entry, ok := f.raw[key]
	if !ok {
		t.Fatalf("golden manifest, %s: no entry %q", f.Name, key)
	}
	if err := json.Unmarshal(entry, v); err != nil {
		t.Fatalf("golden manifest, %s, %s: %v", f.Name, key, err)
	}
}
