package eval_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/testkit"
)

// TestGoldenEvaluate runs the whole measure: ids, embeddings that
// are not normalised, repeated and unknown pairs.
func TestGoldenEvaluate(t *testing.T) {
	var golden struct {
		IDs        []string    `json:"ids"`
		Embeddings [][]float32 `json:"embeddings"`
		Labels     string      `json:"label_tsv"`
		Spearman   *float64    `json:"spearman"`
	}
	testkit.GoldenJSON(t, "evaluator.json", &golden)
	pairs, err := eval.ReadPairs(strings.NewReader(golden.Labels), eval.PairLimits{NeedLabel: true})
	if err != nil {
		t.Fatal(err)
	}
	embeddings := map[string][]float32{}
	for i, id := range golden.IDs { // a repeated id keeps its last embedding
		embeddings[id] = golden.Embeddings[i]
	}
	r := eval.Evaluate(pairs, func(id string) ([]float32, bool) {
		e, ok := embeddings[id]
		return e, ok
	})
	if golden.Spearman == nil {
		if !math.IsNaN(r.Spearman) {
			t.Fatalf("spearman %v, want NaN", r.Spearman)
		}
	} else if !reachable(r, *golden.Spearman) {
		t.Fatalf("spearman %v, want %v", r.Spearman, *golden.Spearman)
	}
	if r.Pairs == 0 || r.Pairs+r.Missing > len(pairs) {
		t.Fatalf("%d pairs and %d missing of %d lines", r.Pairs, r.Missing, len(pairs))
	}
}

// reachable says whether want is the correlation of r's pairs, or of the same
// pairs with near-ties broken in another way: the reference ranks float32 dot
// products, in which two videos compared with themselves give 1 and 0.9999999.
func reachable(r eval.Result, want float64) bool {
	const float32Step = 2.4e-7
	nearTie := func(i, j int) bool { return math.Abs(r.Cosines[i]-r.Cosines[j]) <= float32Step }
	var tied []int
	for i := range r.Cosines {
		for j := range r.Cosines {
			if i != j && nearTie(i, j) {
				tied = append(tied, i)
				break
			}
		}
	}
	// Orders grow as n to the n; beyond a few near-ties only their effect on
	// the coefficient is bounded.
	if len(tied) > 6 {
		return math.Abs(r.Spearman-want) < float64(len(tied))/float64(len(r.Cosines)*len(r.Cosines))
	}
	var try func(rest []int) bool
	try = func(rest []int) bool {
		if len(rest) == 0 {
			return math.Abs(eval.Spearman(r.Labels, r.Cosines)-want) < 1e-12
		}
		saved := r.Cosines[rest[0]]
		defer func() { r.Cosines[rest[0]] = saved }()
		for range tied { // as many places as there are rivals
			if try(rest[1:]) {
				return true
			}
			r.Cosines[rest[0]] -= float32Step
		}
		return false
	}
	return try(tied)
}

func TestEvaluateCounts(t *testing.T) {
	embeddings := map[string][]float32{"a": {1, 0}, "b": {0, 2}, "c": {3, 3}}
	pairs := []eval.Pair{
		{A: "a", B: "b", Label: 1, HasLabel: true},
		{A: "a", B: "c", Label: 0.5, HasLabel: true},
		{A: "a", B: "b", Label: 0, HasLabel: true},   // again: the last label counts
		{A: "b", B: "a", Label: 0.2, HasLabel: true}, // another pair: ids the other way round
		{A: "a", B: "x", Label: 1, HasLabel: true},
		{A: "x", B: "y", Label: 1, HasLabel: true},
		{A: "x", B: "y", Label: 1, HasLabel: true},
		{A: "a", B: "c"},
	}
	r := eval.Evaluate(pairs, func(id string) ([]float32, bool) { e, ok := embeddings[id]; return e, ok })
	if r.Pairs != 3 || r.Missing != 2 || r.Unlabelled != 1 {
		t.Errorf("pairs %d, missing %d, unlabelled %d", r.Pairs, r.Missing, r.Unlabelled)
	}
	if !slices.Equal(r.MissingIDs, []string{"x", "y"}) || !slices.Equal(r.Labels, []float64{0, 0.5, 0.2}) {
		t.Errorf("missing %v, labels %v", r.MissingIDs, r.Labels)
	}
	if math.Abs(r.Cosines[1]-math.Sqrt2/2) > 1e-15 {
		t.Errorf("cosines %v", r.Cosines)
	}
}

func TestEvaluateWithoutAnyEmbedding(t *testing.T) {
	var pairs []eval.Pair
	for i := range 300 {
		pairs = append(pairs, eval.Pair{A: fmt.Sprint(i), B: "b", Label: 1, HasLabel: true})
	}
	r := eval.Evaluate(pairs, func(string) ([]float32, bool) { return nil, false })
	if !math.IsNaN(r.Spearman) || r.Missing != 300 || len(r.MissingIDs) != 100 {
		t.Errorf("%v, missing %d, listed %d", r.Spearman, r.Missing, len(r.MissingIDs))
	}
}

func TestCosine(t *testing.T) {
	for _, c := range []struct {
		a, b []float32
		want float64
	}{
		{[]float32{1, 0}, []float32{5, 0}, 1},
		{[]float32{1, 0}, []float32{0, 1}, 0},
		{[]float32{1, 2}, []float32{-2, -4}, -1},
		{[]float32{0, 0}, []float32{1, 1}, 0},
		{[]float32{1e-30, 0}, []float32{1e-30, 0}, 1},
		{[]float32{3e38, 3e38}, []float32{3e38, 3e38}, 1},
	} {
		if got := eval.Cosine(c.a, c.b); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%v %v: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestCombine(t *testing.T) {
	got, err := eval.Combine([]float32{3, 1}, []float32{0, 3})
	if err != nil || math.Abs(float64(got[0])-0.6) > 1e-7 || math.Abs(float64(got[1])-0.8) > 1e-7 {
		t.Fatalf("%v %v", got, err)
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		late, early []float32
		kind        errs.Kind
	}{
		"NaN":      {[]float32{nan, 1}, []float32{1, 1}, errs.Corrupt},
		"infinite": {[]float32{inf, 1}, []float32{1, 1}, errs.Corrupt},
		"cancel":   {[]float32{1, -2}, []float32{-1, 2}, errs.Corrupt},
		"lengths":  {[]float32{1}, []float32{1, 2}, errs.Invalid},
	} {
		if _, err := eval.Combine(c.late, c.early); err == nil || errs.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want kind %v", name, err, c.kind)
		}
	}
}

// TestScoreIsTheDotProduct: of embeddings that Combine made, Cosine is the
// dot product of what is stored, to float32 rounding.
func TestScoreIsTheDotProduct(t *testing.T) {
	for seed := range 50 {
		a, errA := eval.Combine(wave(seed, 256), wave(seed+1, 256))
		b, errB := eval.Combine(wave(seed+2, 256), wave(seed+3, 256))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		dot := 0.0
		for i := range a {
			dot += float64(a[i]) * float64(b[i])
		}
		if math.Abs(eval.Cosine(a, b)-dot) > 1e-6 {
			t.Fatalf("seed %d: cosine %v, dot product %v", seed, eval.Cosine(a, b), dot)
		}
	}
}

func wave(seed, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(math.Sin(float64(seed*seed+1) * float64(i+1)))
	}
	return out
}
