package eval

import (
	"fmt"
	"math"

	"videosim/shared/errs"
)

// Cosine is the cosine of the angle between a and b, in [-1, 1], accumulated
// in float64; 0 where one of them is all zero, and exactly 1 for equal ones.
// Unequal lengths are a bug of the caller and panic.
func Cosine(a, b []float32) float64 {
	if len(a) != len(b) {
		panic(fmt.Sprintf("eval.Cosine: %d numbers against %d", len(a), len(b)))
	}
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	// One root of the product: the root of an exact square is exact, so equal
	// embeddings tie at 1 instead of being ranked by rounding. The squares of
	// float32 numbers are far from overflow here.
	return max(-1, min(1, ab/math.Sqrt(aa*bb)))
}

// minNorm is the smallest length of a sum of halves that still has a
// direction worth keeping.
const minNorm = 1e-12

// Combine makes a video's embedding from the two models' halves: their sum,
// divided by its length. Neither half is normalised first, so the model that
// speaks louder about a video weighs more. The sum runs in float64.
//
// Halves that are not finite, or cancel out, give errs.Corrupt: no embedding
// of norm 1 can be made of them.
func Combine(late, early []float32) ([]float32, error) {
	if len(late) != len(early) {
		return nil, errs.New(errs.Invalid, "halves of %d and %d numbers do not add up", len(late), len(early))
	}
	square := 0.0
	for i := range late {
		sum := float64(late[i]) + float64(early[i])
		square += sum * sum
	}
	norm := math.Sqrt(square)
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return nil, errs.New(errs.Corrupt, "the sum of the halves is not finite")
	}
	if norm < minNorm {
		return nil, errs.New(errs.Corrupt, "the sum of the halves has length %.3g, expected at least %.0e", norm, minNorm)
	}
	out := make([]float32, len(late))
	for i := range out {
		out[i] = float32((float64(late[i]) + float64(early[i])) / norm)
	}
	return out, nil
}
