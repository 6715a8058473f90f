package bundle_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/testkit"
)

// TestReadFilesOfTheReference writes what it read from each fixture that
// another library made, and finds the same tensors again.
func TestReadFilesOfTheReference(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testkit.GoldenDir(t), "*.safetensors"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		want, err := bundle.ReadSafetensors(file)
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), "copy.safetensors")
		if err := bundle.WriteSafetensors(copied, want); err != nil {
			t.Fatal(err)
		}
		got, err := bundle.OpenSafetensors(copied)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Names()) != len(want) {
			t.Errorf("%s: %d tensors, want %d", file, len(got.Names()), len(want))
		}
		for _, w := range want {
			g, ok := got.Tensor(w.Name)
			if !ok || g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || !bytes.Equal(g.Data, w.Data) {
				t.Errorf("%s: tensor %q changed", file, w.Name)
			}
		}
		if err := got.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSafetensorsRefused(t *testing.T) {
	const entry = `{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	for name, c := range map[string]struct {
		header  string
		data    int
		message string
	}{
		"not JSON":        {"hello", 0, "not a JSON object"},
		"unfinished":      {`{"a":`, 0, "header"},
		"twice":           {`{"a":` + entry + `,"a":` + entry + `}`, 8, `tensor "a" is there twice`},
		"unknown type":    {`{"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}}`, 8, `tensor "a": dtype: expected`},
		"size":            {`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8, `tensor "a": F32 [3] needs 12 bytes, found 8`},
		"negative axis":   {`{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, 8, `tensor "a": shape [-2]`},
		"overflow":        {`{"a":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,8]}}`, 8, "too large"},
		"beyond the end":  {`{"a":` + entry + `}`, 4, `tensor "a": bytes 0 to 8`},
		"backwards":       {`{"a":{"dtype":"F32","shape":[0],"data_offsets":[8,0]}}`, 8, `tensor "a": bytes 8 to 0`},
		"overlap":         {`{"a":` + entry + `,"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, `tensor "b": bytes 4 to 8: expected to start at 8`},
		"gap":             {`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, `tensor "a": bytes 4 to 8: expected to start at 0`},
		"bytes left over": {`{"a":` + entry + `}`, 9, "1 bytes after the last tensor"},
		"text for shape":  {`{"a":{"dtype":"F32","shape":"x","data_offsets":[0,8]}}`, 8, `header of tensor "a"`},
	} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		file := binary.LittleEndian.AppendUint64(nil, uint64(len(c.header)))
		file = append(append(file, c.header...), make([]byte, c.data)...)
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := bundle.OpenSafetensors(path)
		if errs.KindOf(err) != errs.Corrupt || !strings.Contains(err.Error(), c.message) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want the path and %q", name, err, c.message)
		}
	}
}

func TestNoSafetensorsFile(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		data []byte
		kind errs.Kind
	}{
		"empty":            {[]byte{}, errs.Corrupt},
		"seven bytes":      {make([]byte, 7), errs.Corrupt},
		"long header":      {[]byte{255, 255, 255, 255, 255, 255, 255, 255, '{'}, errs.Corrupt},
		"cut-off header":   {[]byte{200, 0, 0, 0, 0, 0, 0, 0, '{'}, errs.Corrupt},
		"there is no file": {nil, errs.NotFound},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "_"))
		if c.data != nil {
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := bundle.OpenSafetensors(path); errs.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := bundle.OpenSafetensors(dir); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a folder: %v", err)
	}
}

func TestValues(t *testing.T) {
	half := bundle.NamedTensor{Name: "h", DType: "F16", Shape: []int64{7}, Data: little16(0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x8000, 0x7e00)}
	got, err := half.Float32s()
	want := []float32{1, -2, float32(math.Ldexp(1, -24)), 65504, float32(math.Inf(1)), 0}
	if err != nil || !slices.Equal(got[:6], want) || !math.IsNaN(float64(got[6])) || !math.Signbit(float64(got[5])) {
		t.Errorf("F16: %v %v", got, err)
	}
	brain := bundle.NamedTensor{Name: "b", DType: "BF16", Shape: []int64{2}, Data: little16(0x3f80, 0xc040)}
	if got, err := brain.Float32s(); err != nil || !slices.Equal(got, []float32{1, -3}) {
		t.Errorf("BF16: %v %v", got, err)
	}
	ids := bundle.NamedTensor{Name: "i", DType: "I64", Shape: []int64{1}, Data: []byte{254, 255, 255, 255, 255, 255, 255, 255}}
	if got, err := ids.Int64s(); err != nil || got[0] != -2 {
		t.Errorf("I64: %v %v", got, err)
	}
	if _, err := ids.Float32s(); err == nil || !strings.Contains(err.Error(), `tensor "i"`) {
		t.Errorf("whole numbers read as floats: %v", err)
	}
	if _, err := half.Int64s(); err == nil {
		t.Error("floats read as whole numbers")
	}
}

func little16(values ...uint16) []byte {
	var out []byte
	for _, v := range values {
		out = binary.LittleEndian.AppendUint16(out, v)
	}
	return out
}

// BenchmarkOpen measures the check of a bundle of 64 MB.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "b")
	c := contents(1)
	for i := range 16 {
		c.Late = append(c.Late, bundle.Float32Tensor(fmt.Sprint("t", i), make([]float32, 1<<20), 1<<20))
	}
	if _, err := bundle.Write(dir, c); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(64 << 20)
	for b.Loop() {
		if _, err := bundle.Open(dir); err != nil {
			b.Fatal(err)
		}
	}
}
