package testkit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"videosim/shared/bundle"
)

// GoldenDir is the folder of the golden fixtures: $GOLDEN_DIR where it is
// set, else the copy beside this file. Another set has other sizes and
// values, so tests take both from the Manifest.
func GoldenDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("GOLDEN_DIR")
	if dir == "" {
		_, self, _, _ := runtime.Caller(0)
		dir = filepath.Join(filepath.Dir(self), "golden")
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		t.Fatalf("golden fixtures: %v (set GOLDEN_DIR to a folder with manifest.json)", err)
	}
	return dir
}

// GoldenFile returns the bytes of one file of the set.
func GoldenFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(GoldenDir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// GoldenJSON decodes one JSON file of the set into v.
func GoldenJSON(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(GoldenFile(t, name), v); err != nil {
		t.Fatalf("golden %s: %v", name, err)
	}
}

// Tensor is one tensor of a fixture. DType is spelled as the manifest does:
// float32, float16, float64 or int64.
type Tensor struct {
	Name   string
	DType  string
	Shape  []int64
	stored bundle.NamedTensor
	t      testing.TB
}

// Float32s returns the values as float32, row-major.
func (x Tensor) Float32s() []float32 {
	x.t.Helper()
	values, err := x.stored.Float32s()
	if err != nil {
		x.t.Fatal(err)
	}
	return values
}

// Float64s returns the values as float64, exactly.
func (x Tensor) Float64s() []float64 {
	x.t.Helper()
	values, err := x.stored.Float64s()
	if err != nil {
		x.t.Fatal(err)
	}
	return values
}

// Int64s returns the values of ids, masks and tags.
func (x Tensor) Int64s() []int64 {
	x.t.Helper()
	values, err := x.stored.Int64s()
	if err != nil {
		x.t.Fatal(err)
	}
	return values
}

// Bytes returns the values as stored: row-major, little-endian.
func (x Tensor) Bytes() []byte { return x.stored.Data }

// Stored returns the tensor as a bundle holds it.
func (x Tensor) Stored() bundle.NamedTensor { return x.stored }

// Tensors are a fixture's, by name.
type Tensors map[string]Tensor

// Fixture reads one safetensors file of the set, "simnet13.safetensors" or
// "e2e/expected.safetensors", and checks it against the manifest.
func Fixture(t testing.TB, name string) Tensors {
	t.Helper()
	stored, err := bundle.ReadSafetensors(filepath.Join(GoldenDir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	promised := ReadManifest(t).File(t, name).Tensors
	if len(promised) != len(stored) {
		t.Fatalf("golden %s: the manifest promises %d tensors, the file has %d", name, len(promised), len(stored))
	}
	out := make(Tensors, len(stored))
	for _, s := range stored {
		p, ok := promised[s.Name]
		if !ok {
			t.Fatalf("golden %s: tensor %q is not in the manifest", name, s.Name)
		}
		out[s.Name] = Tensor{Name: s.Name, DType: p.DType, Shape: p.Shape, stored: s, t: t}
	}
	return out
}

// Of returns the named tensor; one that is missing fails the test.
func (x Tensors) Of(t testing.TB, name string) Tensor {
	t.Helper()
	tensor, ok := x[name]
	if !ok {
		t.Fatalf("the fixture has no tensor %q", name)
	}
	return tensor
}

// Under returns the tensors whose names begin with prefix, without it:
// Under("weights/") is a state dictionary.
func (x Tensors) Under(prefix string) Tensors {
	out := Tensors{}
	for name, tensor := range x {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			tensor.Name, tensor.stored.Name = rest, rest
			out[rest] = tensor
		}
	}
	return out
}
