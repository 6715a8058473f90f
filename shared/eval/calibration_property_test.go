package eval_test

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"videosim/shared/eval"
)

// drawPoints makes some hundred points of any shape: ties in cosines and in
// labels, few or many different values, values outside the range, NaN.
func drawPoints(rng *rand.Rand) (cosines, labels []float64) {
	n := rng.IntN(300)
	if rng.IntN(10) == 0 {
		n = 3000 // enough that knots are joined before thinning
	}
	stepsX, stepsY, slope := 1+rng.IntN(2000), 1+rng.IntN(21), 3*rng.NormFloat64()
	for range n {
		x := float64(rng.IntN(2*stepsX+1)-stepsX) / float64(stepsX)
		y := math.Round(float64(stepsY)*(0.5+slope*x+0.3*rng.NormFloat64())) / float64(stepsY)
		switch rng.IntN(100) {
		case 0:
			x = math.NaN()
		case 1:
			y = math.Inf(1)
		case 2:
			x += 1e-9 // beyond 1 by rounding, at times
		}
		cosines, labels = append(cosines, x), append(labels, y)
	}
	return cosines, labels
}

func forEachDraw(t *testing.T, check func(t *testing.T, rng *rand.Rand, cosines, labels []float64, c eval.Calibration)) {
	t.Helper()
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 11))
		cosines, labels := drawPoints(rng)
		check(t, rng, cosines, labels, eval.FitCalibration(cosines, labels))
		if t.Failed() {
			t.Fatalf("with seed %d, %d points", seed, len(cosines))
		}
	}
}

func TestCalibrationIsMonotoneWhateverItIsFittedTo(t *testing.T) {
	forEachDraw(t, func(t *testing.T, rng *rand.Rand, cosines, _ []float64, c eval.Calibration) {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		for range 300 {
			a, b := 2.2*rng.Float64()-1.1, 2.2*rng.Float64()-1.1
			if len(cosines) > 0 && rng.IntN(2) == 0 {
				a = cosines[rng.IntN(len(cosines))]
				b = a + 1e-12*rng.NormFloat64()
			}
			if a > b {
				a, b = b, a
			}
			low, high := c.Score(a), c.Score(b)
			if !(low >= 0 && high <= 1) || a <= b && low > high {
				t.Errorf("score(%v) = %v, score(%v) = %v", a, low, b, high)
			}
		}
	})
}

// The order of the points decides nothing, not even a rounding, however many
// of them tie.
func TestCalibrationIsStableUnderTies(t *testing.T) {
	forEachDraw(t, func(t *testing.T, rng *rand.Rand, cosines, labels []float64, c eval.Calibration) {
		var x, y []float64
		for _, i := range rng.Perm(len(cosines)) {
			x, y = append(x, cosines[i]), append(y, labels[i])
		}
		if shuffled := eval.FitCalibration(x, y); !reflect.DeepEqual(shuffled, c) {
			t.Errorf("of the same points in another order %+v, was %+v", shuffled, c)
		}
	})
}

// Fitting leaves its input as it was, and gives the same curve again.
func TestCalibrationChangesNoInput(t *testing.T) {
	forEachDraw(t, func(t *testing.T, _ *rand.Rand, cosines, labels []float64, c eval.Calibration) {
		if again := eval.FitCalibration(cosines, labels); !reflect.DeepEqual(again, c) {
			t.Errorf("fitted again: %+v, was %+v", again, c)
		}
	})
}
