package eval_test

import (
	"math"
	"testing"

	"videosim/shared/eval"
	"videosim/shared/testkit"
)

func TestGoldenSpearman(t *testing.T) {
	var cases []struct {
		Label, Score []float64
		Spearman     *float64 // null: undefined
	}
	testkit.GoldenJSON(t, "spearman.json", &cases)
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	for i, c := range cases {
		got := eval.Spearman(c.Label, c.Score)
		if c.Spearman == nil {
			if !math.IsNaN(got) {
				t.Errorf("case %d: got %v, want NaN", i, got)
			}
			continue
		}
		// The sums of a BLAS run in another order: a few units in the last place.
		if math.Abs(got-*c.Spearman) > 1e-14 {
			t.Errorf("case %d of %d values: got %v, want %v", i, len(c.Label), got, *c.Spearman)
		}
	}
}

func TestSpearmanUndefined(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string][2][]float64{
		"nothing":      {{}, {}},
		"one value":    {{1}, {2}},
		"constant x":   {{1, 1, 1}, {1, 2, 3}},
		"constant y":   {{1, 2, 3}, {0, 0, 0}},
		"NaN in x":     {{1, nan, 3}, {1, 2, 3}},
		"NaN in y":     {{1, 2, 3}, {1, 2, nan}},
		"zero and -0":  {{0, math.Copysign(0, -1)}, {1, 2}},
		"all infinite": {{math.Inf(1), math.Inf(1)}, {1, 2}},
	} {
		if got := eval.Spearman(c[0], c[1]); !math.IsNaN(got) {
			t.Errorf("%s: got %v, want NaN", name, got)
		}
	}
}

func TestSpearmanSeesOnlyOrder(t *testing.T) {
	x := []float64{3, 1, 4, 1, 5, 9, 2, 6}
	y := []float64{2, 7, 1, 8, 2, 8, 1, 8}
	want := eval.Spearman(x, y)
	stretched := make([]float64, len(x))
	for i, v := range x {
		stretched[i] = math.Exp(v) - 1e3
	}
	if got := eval.Spearman(stretched, y); got != want {
		t.Errorf("a rising function of x changed the result: %v, was %v", got, want)
	}
	if got := eval.Spearman(y, x); math.Abs(got-want) > 1e-15 {
		t.Errorf("not symmetric: %v and %v", got, want)
	}
	if got := eval.Spearman(x, x); math.Abs(got-1) > 1e-15 {
		t.Errorf("x with itself: %v", got)
	}
	if want := []float64{3, 1, 4, 1, 5, 9, 2, 6}; x[0] != want[0] || x[7] != want[7] {
		t.Error("the input was changed")
	}
}

func BenchmarkSpearman(b *testing.B) {
	const n = 67_899 // the challenge's label.tsv
	x, y := make([]float64, n), make([]float64, n)
	for i := range x {
		x[i] = float64(i*7919%21) / 20
		y[i] = math.Sin(float64(i))
	}
	for b.Loop() {
		eval.Spearman(x, y)
	}
}
