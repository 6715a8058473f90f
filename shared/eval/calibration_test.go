package eval_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/eval"
)

// noisy makes points around a rising curve, labels in steps of 0.05 as the
// challenge's are.
func noisy(n int) (cosines, labels []float64, truth func(float64) float64) {
	rng := rand.New(rand.NewPCG(1, 2))
	truth = func(c float64) float64 { return 1 / (1 + math.Exp(-6*(c-0.3))) }
	for range n {
		c := rng.Float64()*1.6 - 0.6
		label := math.Round(20*(truth(c)+0.1*rng.NormFloat64())) / 20
		cosines, labels = append(cosines, c), append(labels, max(0, min(1, label)))
	}
	return cosines, labels, truth
}

func TestCalibrationFollowsTheLabels(t *testing.T) {
	cosines, labels, truth := noisy(67_899)
	c := eval.FitCalibration(cosines, labels)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(c.Cosines) > 64 {
		t.Errorf("%d knots", len(c.Cosines))
	}
	worst := 0.0
	for x := 0.0; x <= 0.6; x += 0.01 { // nearer to 0 and 1 clipping the labels shifts their mean
		worst = max(worst, math.Abs(c.Score(x)-truth(x)))
	}
	if worst > 0.02 {
		t.Errorf("off by %.3f", worst)
	}
	t.Logf("%d knots, off by %.3f at most", len(c.Cosines), worst)
}

// TestCalibrationIsUsable: whatever it was fitted to, a curve is monotone,
// stays in 0..1 and survives being stored.
func TestCalibrationIsUsable(t *testing.T) {
	nan := math.NaN()
	rising := func(n int) (x, y []float64) {
		for i := range n {
			x, y = append(x, float64(i)/float64(n)), append(y, float64(i)/float64(n))
		}
		return x, y
	}
	x, y := rising(5000) // nothing to pool: thinning alone bounds the knots
	nx, ny, _ := noisy(5000)
	for name, points := range map[string][2][]float64{
		"nothing":            {{}, {}},
		"only NaN":           {{nan, 1}, {1, nan}},
		"one point":          {{0.5}, {0.5}},
		"one cosine":         {{0.3, 0.3, 0.3}, {0, 1, 0.5}},
		"at the ends":        {{-1, 1, -1, 1}, {0.2, 0.8, 0, 1}},
		"beyond by rounding": {{-1.0000001, 1.0000001}, {0, 1}},
		"falling":            {{-0.5, 0, 0.5}, {1, 0.5, 0}},
		"all zero labels":    {{-0.5, 0, 0.5}, {0, 0, 0}},
		"rising":             {x, y},
		"noisy":              {nx, ny},
	} {
		c := eval.FitCalibration(points[0], points[1])
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		data, err := json.Marshal(c)
		var read eval.Calibration
		if err != nil || json.Unmarshal(data, &read) != nil || len(read.Cosines) != len(c.Cosines) || len(c.Cosines) > 64 {
			t.Errorf("%s: %d knots, stored as %s (%v)", name, len(c.Cosines), data, err)
		}
		last := -1.0
		for i := -1000; i <= 1000; i++ {
			s := c.Score(float64(i) / 1000)
			if !(s >= last && s >= 0 && s <= 1) {
				t.Fatalf("%s: score %v at %v, %v before", name, s, float64(i)/1000, last)
			}
			last = s
		}
		if c.Score(1) != 1 || c.Score(-1) != 0 || c.Score(1.0000002) != 1 || c.Score(nan) != 0 {
			t.Errorf("%s: ends %v %v %v %v", name, c.Score(-1), c.Score(1), c.Score(1.0000002), c.Score(nan))
		}
	}
}

func TestCalibrationRefused(t *testing.T) {
	for name, c := range map[string]eval.Calibration{
		"lengths":        {Cosines: []float64{0, 1}, Scores: []float64{0}},
		"one knot":       {Cosines: []float64{0}, Scores: []float64{0}},
		"cosines fall":   {Cosines: []float64{0.5, 0}, Scores: []float64{0, 1}},
		"cosines repeat": {Cosines: []float64{0.5, 0.5}, Scores: []float64{0, 1}},
		"scores fall":    {Cosines: []float64{0, 0.5}, Scores: []float64{1, 0}},
		"score above 1":  {Cosines: []float64{0, 0.5}, Scores: []float64{0, 1.5}},
		"NaN":            {Cosines: []float64{0, math.NaN()}, Scores: []float64{0, 1}},
	} {
		if err := c.Validate(); errs.KindOf(err) != errs.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of many pairs that say one thing and few that say another, both count alike.
func TestBalancedCalibration(t *testing.T) {
	var many, few eval.Result
	for range 9000 {
		many.Cosines, many.Labels = append(many.Cosines, 0.5), append(many.Labels, 0.9)
	}
	for range 10 {
		few.Cosines, few.Labels = append(few.Cosines, 0.5), append(few.Labels, 0.5)
	}
	for name, c := range map[string]struct {
		got  eval.Calibration
		want float64
	}{
		"both":            {eval.FitBalanced(many, few), 0.7},
		"the other way":   {eval.FitBalanced(few, many), 0.7},
		"one of them":     {eval.FitBalanced(many, eval.Result{}), 0.9},
		"the other":       {eval.FitBalanced(eval.Result{}, few), 0.5},
		"neither":         {eval.FitBalanced(eval.Result{}, eval.Result{}), 0.75}, // the straight line
		"without weights": {eval.FitCalibration(few.Cosines, few.Labels), 0.5},
	} {
		if got := c.got.Score(0.5); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: score %v, want %v", name, got, c.want)
		}
	}
}

func BenchmarkFitCalibration(b *testing.B) {
	cosines, labels, _ := noisy(67_899)
	for b.Loop() {
		eval.FitCalibration(cosines, labels)
	}
}
