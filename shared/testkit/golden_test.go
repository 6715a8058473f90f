package testkit_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"videosim/shared/testkit"
)

// TestGoldenEveryFixtureIsReadable reads each safetensors file that the manifest
// names; Fixture compares names, and here shapes and numbers of values agree.
func TestGoldenEveryFixtureIsReadable(t *testing.T) {
	files := 0
	for name := range testkit.ReadManifest(t).Files {
		if filepath.Ext(name) != ".safetensors" {
			continue
		}
		files++
		for tensor, x := range testkit.Fixture(t, name) {
			count := int64(1)
			for _, n := range x.Shape {
				count *= n
			}
			var found int
			if x.DType == "int64" {
				found = len(x.Int64s())
			} else {
				found = len(x.Float64s())
			}
			if int64(found) != count {
				t.Errorf("%s %s: shape %v, %d values", name, tensor, x.Shape, found)
			}
		}
	}
	if files == 0 {
		t.Fatal("the manifest names no safetensors file")
	}
}

func TestManifestDescribesTraining(t *testing.T) {
	m := testkit.ReadManifest(t)
	info := m.File(t, "simnet13.safetensors")
	if info.Optimizer == nil || info.Optimizer.LR <= 0 || info.Optimizer.TTotal <= 0 {
		t.Fatalf("optimizer settings: %+v", info.Optimizer)
	}
	if len(info.Trainable) == 0 || len(info.Frozen) == 0 {
		t.Fatal("finetuning trains some parameters and freezes others; the manifest lists neither")
	}
	if info.Sizes.Int(t, "bert_hidden") <= 0 {
		t.Fatal("no width")
	}
	var cases map[string]struct{ Steps int }
	m.File(t, "bertadam.safetensors").Decode(t, "cases", &cases)
	if len(cases) == 0 {
		t.Fatal("no optimizer cases")
	}
}

// TestSizesOfAFile: the end-to-end files bring their own sizes.
func TestSizesOfAFile(t *testing.T) {
	m := testkit.ReadManifest(t)
	own := m.File(t, "e2e/simnet13.safetensors")
	hidden := own.Tensors["weights/text_model.text_model.embeddings.word_embeddings.weight"].Shape[1]
	if int64(own.Sizes.Int(t, "bert_hidden")) != hidden {
		t.Fatalf("sizes say %d, the word table is %d wide", own.Sizes.Int(t, "bert_hidden"), hidden)
	}
	if got := own.Sizes.FloatOr(t, "not_a_size", 0.5); got != 0.5 {
		t.Fatalf("default size: %v", got)
	}
}

func TestUnderIsAStateDictionary(t *testing.T) {
	weights := testkit.Fixture(t, "videonet.safetensors").Under("weights/")
	if len(weights) == 0 {
		t.Fatal("no weights")
	}
	for name, x := range weights {
		if strings.HasPrefix(name, "weights/") || x.Name != name || x.Stored().Name != name {
			t.Fatalf("%q keeps the prefix or is called %q", name, x.Name)
		}
	}
}

func TestClose(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name      string
		got, want []float32
		fails     bool
	}{
		{"equal", []float32{1, 2}, []float32{1, 2}, false},
		{"relative to the largest", []float32{0.0009, 100}, []float32{0, 100}, false},
		{"too far", []float32{0.01, 100}, []float32{0, 100}, true},
		{"all zero: absolute", []float32{1e-6}, []float32{0}, false},
		{"length", []float32{1}, []float32{1, 2}, true},
		{"same non-finite", []float32{nan, inf}, []float32{nan, inf}, false},
		{"a NaN is never close", []float32{nan}, []float32{1}, true},
		{"an infinity is never close", []float32{inf, 1}, []float32{1, 1}, true},
	} {
		spy := &recorder{TB: t}
		testkit.Close(spy, c.name, c.got, c.want, 1e-5)
		if spy.failed != c.fails {
			t.Errorf("%s: failed = %v", c.name, spy.failed)
		}
	}
}

// recorder notes a failure instead of failing.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
