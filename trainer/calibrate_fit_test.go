package trainer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"videosim/shared/eval"
)

// judgedPairs makes n pairs whose label is their cosine, squeezed by bend, and
// noise. Every fifth pair shares a video with the one before.
func judgedPairs(n int, bend float64, seed uint64) eval.Result {
	rng := rand.New(rand.NewPCG(seed, 5))
	var r eval.Result
	for i := range n {
		p := eval.Pair{A: fmt.Sprint("a", i), B: fmt.Sprint("b", i), HasLabel: true}
		if i%5 == 4 {
			p.A = fmt.Sprint("b", i-1)
		}
		x := rng.Float64()
		p.Label = max(0, min(1, math.Pow(x, bend)+0.1*rng.NormFloat64()))
		r.Scored, r.Cosines, r.Labels = append(r.Scored, p), append(r.Cosines, x), append(r.Labels, p.Label)
	}
	return r
}

// Where a model scores unseen pairs otherwise than those it learned from, the
// calibration meets both half-way.
func TestCalibrationHearsHeldOutPairs(t *testing.T) {
	train, heldOut := judgedPairs(4000, 1, 1), judgedPairs(400, 2, 2)
	c, scores := calibrate(train, heldOut)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, x := range []float64{0.3, 0.5, 0.7} {
		if got, want := c.Score(x), (x+x*x)/2; math.Abs(got-want) > 0.05 {
			t.Errorf("score of %v is %v, want about %v", x, got, want)
		}
	}
	alone := eval.FitCalibration(train.Cosines, train.Labels)
	var with, without float64
	for i, x := range heldOut.Cosines {
		with += math.Pow(scores[i]-heldOut.Labels[i], 2)
		without += math.Pow(alone.Score(x)-heldOut.Labels[i], 2)
	}
	if with >= without {
		t.Errorf("squared error %v of unseen pairs, %v without having heard any", with, without)
	}
}

// A held-out score does not know its own label: with labels that are pure
// noise, and only those to learn from, it must not follow them.
func TestHeldOutScoresAreCrossValidated(t *testing.T) {
	heldOut := judgedPairs(100, 1, 3)
	rng := rand.New(rand.NewPCG(4, 4))
	for i := range heldOut.Labels {
		heldOut.Labels[i] = float64(rng.IntN(2))
	}
	for i := range heldOut.Scored {
		before := heldOut.Labels[i]
		_, scores := calibrate(eval.Result{}, heldOut)
		heldOut.Labels[i] = 1 - before
		_, changed := calibrate(eval.Result{}, heldOut)
		heldOut.Labels[i] = before
		if scores[i] != changed[i] {
			t.Fatalf("pair %d: its label moves its own score from %v to %v", i, scores[i], changed[i])
		}
	}
}

func TestFoldsKeepConnectedPairsTogether(t *testing.T) {
	pairs := judgedPairs(500, 1, 6).Scored
	folds := foldsOf(pairs)
	of := map[string]int{}
	var size [calibrationFolds]int
	for i, p := range pairs {
		size[folds[i]]++
		for _, id := range []string{p.A, p.B} {
			if fold, seen := of[id]; seen && fold != folds[i] {
				t.Fatalf("video %s is in parts %d and %d", id, fold, folds[i])
			}
			of[id] = folds[i]
		}
	}
	for fold, n := range size {
		if n < 95 || n > 105 {
			t.Errorf("part %d has %d of 500 pairs", fold, n)
		}
	}
	if n := len(foldsOf(nil)); n != 0 {
		t.Errorf("%d parts of nothing", n)
	}
}
