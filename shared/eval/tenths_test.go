package eval_test

import (
	"math"
	"testing"

	"videosim/shared/eval"
)

func TestTenthsOfTheScale(t *testing.T) {
	labels := []float64{0, 0.05, 0.1, 0.3, 0.7, 0.9, 1, 0.95}
	scores := []float64{0.1, 0.2, 0.1, 0.5, 0.7, 0.8, 0.9, 0.7}
	cosines := []float64{-0.2, -0.1, 0, 0.1, 0.5, 0.4, 0.9, 0.6}
	got := eval.Tenths(labels, labels, cosines, scores)
	if len(got) != 10 {
		t.Fatalf("%d tenths", len(got))
	}
	for i, pairs := range []int{2, 1, 0, 1, 0, 0, 0, 1, 0, 3} {
		if d := got[i]; d.Pairs != pairs || d.From != float64(i)/10 || d.To != float64(i+1)/10 {
			t.Errorf("tenth %d: %+v, want %d pairs", i, d, pairs)
		}
	}
	near(t, "mean label of the first", got[0].MeanLabel, 0.025)
	near(t, "mean score of the first", got[0].MeanScore, 0.15)
	near(t, "mean error of the first", got[0].MeanAbsError, 0.125)
	near(t, "mean error of the last", got[9].MeanAbsError, (0.1+0.1+0.25)/3)
	near(t, "spearman of the last", got[9].Spearman, 1)
	for name, x := range map[string]float64{
		"spearman of one pair": got[1].Spearman, "mean of no pair": got[2].MeanLabel, "error of no pair": got[2].MeanAbsError,
	} {
		if !math.IsNaN(x) {
			t.Errorf("%s is %v, want NaN", name, x)
		}
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) < 1e-12) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestCalibrationError(t *testing.T) {
	labels := []float64{0, 1, 1, 1}
	scores := []float64{0.5, 0.5, 0.9, 0.9}
	byScore := eval.Tenths(scores, labels, scores, scores)
	near(t, "error", eval.CalibrationError(byScore), 0.05) // halves of 0 and of 0.1
	if e := eval.CalibrationError(eval.Tenths(nil, nil, nil, nil)); !math.IsNaN(e) {
		t.Errorf("of nothing: %v", e)
	}
}
