package query

import (
	"math"

	"videosim/shared/errs"
)

// cancelled is the length below which positives and negatives leave no
// direction: float32 embeddings of norm 1 are good to about 1e-7 each.
const cancelled = 1e-6

// Direction is the vector that a query looks along: the mean of the positives
// minus the mean of the negatives, every vector scaled to norm 1 before it
// counts and the result scaled to norm 1 after. One positive alone is its own
// direction, so the hits' cosines are cosines with it.
func Direction(positive, negative [][]float32) ([]float32, error) {
	if len(positive) == 0 {
		return nil, errs.Field("positive", "expected at least one video to be like, found none")
	}
	sum := make([]float64, len(positive[0]))
	addMean(sum, positive, 1)
	addMean(sum, negative, -1)
	length := norm64(sum)
	if length < cancelled {
		return nil, errs.Field("negative", "expected a direction to be left, found that positives and negatives cancel out")
	}
	direction := make([]float32, len(sum))
	for i, x := range sum {
		direction[i] = float32(x / length)
	}
	return direction, nil
}

// addMean adds sign times the mean of the normalised vectors to sum.
func addMean(sum []float64, vectors [][]float32, sign float64) {
	for _, v := range vectors {
		scale := sign / (norm32(v) * float64(len(vectors)))
		for i, x := range v {
			sum[i] += scale * float64(x)
		}
	}
}

func norm32(v []float32) float64 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

func norm64(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}

func dot(a, b []float32) float64 {
	var sum float64
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}
