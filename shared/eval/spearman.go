package eval

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Spearman is the rank correlation of x and y: Pearson's correlation of their
// ranks, where equal values share the mean of their ranks. It is NaN where it
// is undefined: fewer than two values, a constant x or y, or a NaN in either.
//
// The order of operations is that of scipy.stats.spearmanr (numpy.corrcoef of
// the ranks), rounding included: two reversed values give -0.9999999999999999.
// Slices of unequal length are a bug of the caller and panic.
func Spearman(x, y []float64) float64 {
	if len(x) != len(y) {
		panic(fmt.Sprintf("eval.Spearman: %d values against %d", len(x), len(y)))
	}
	if len(x) < 2 || slices.ContainsFunc(x, math.IsNaN) || slices.ContainsFunc(y, math.IsNaN) {
		return math.NaN()
	}
	return pearson(ranks(x), ranks(y))
}

// ranks returns the rank of every value, from 1, ties sharing the mean.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	out := make([]float64, len(values))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			out[i] = float64(from+1+to) / 2 // the mean of from+1 … to
		}
		from = to
	}
	return out
}

// pearson centres x and y in place.
func pearson(x, y []float64) float64 {
	centre(x)
	centre(y)
	n := float64(len(x) - 1)
	xy, xx, yy := dot(x, y)/n, dot(x, x)/n, dot(y, y)/n
	if xx == 0 || yy == 0 {
		return math.NaN()
	}
	// Divided one after the other and clipped, as numpy.corrcoef does.
	return max(-1, min(1, xy/math.Sqrt(xx)/math.Sqrt(yy)))
}

func centre(x []float64) {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	mean := sum / float64(len(x))
	for i := range x {
		x[i] -= mean
	}
}

func dot(x, y []float64) float64 {
	sum := 0.0
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum
}
