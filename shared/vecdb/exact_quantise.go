package vecdb

import "math"

// roundingSlack covers, relative to the norms of row and query, every rounding
// of float32 between the int8 product and the comparison: a handful of
// operations of 2^-24 each, with a margin of ten.
const roundingSlack = 4e-6

// minScale keeps products of scales far from float32's subnormal numbers, whose
// rounding the slack does not cover. Vectors below it have norms under 1e-8.
const minScale = 1e-12

// queryLevels is the largest absolute value of a quantised query: as much of
// int16 as lets a sum of dim products with int8 stay in int32.
func queryLevels(stride int) int {
	return min(math.MaxInt16, math.MaxInt32/(127*stride))
}

// quantise writes v/scale, rounded, to dst and returns the scale and the slack
// of the row. With x = scale·q + r (the row) and y = t·p + u (the query):
//
//	|x·y − scale·t·(q·p)| = |scale·q·u + r·y| ≤ ‖y‖ (‖r‖ + ‖scale·q‖ ‖u‖/‖y‖)
//
// and ‖u‖/‖y‖ ≤ √dim / (2·levels), as |u| ≤ t/2 in each place and
// t = max|y|/levels. The slack is the bracket, so
//
//	scale·t·(q·p) + slack·‖y‖
//
// is never below the true product: a row whose value is below the k-th best
// product found cannot be among the k best.
func quantise(dst []int8, v []float32, levels int) (scale, slack float32) {
	largest := float32(0)
	for _, f := range v {
		largest = max(largest, float32(math.Abs(float64(f))))
	}
	scale = largest / 127
	if scale < minScale { // all of the row is residual
		clear(dst)
		return 0, upwards(norm(v) * (1 + roundingSlack))
	}
	inverse := 1 / float64(scale)
	residual, kept := 0.0, 0.0
	for i, f := range v {
		q := math.RoundToEven(float64(f) * inverse)
		q = max(-127, min(127, q))
		dst[i] = int8(q)
		approx := q * float64(scale)
		residual += (float64(f) - approx) * (float64(f) - approx)
		kept += approx * approx
	}
	clear(dst[len(v):]) // the padding up to the stride
	ratio := math.Sqrt(float64(len(dst))) / (2 * float64(levels))
	s := math.Sqrt(residual) + math.Sqrt(kept)*(ratio+roundingSlack)
	return scale, upwards(s * (1 + roundingSlack))
}

// quantiseQuery writes v/scale, rounded, to dst and returns scale and ‖v‖. The
// scale is NaN where v is too small for it: no row is ruled out then.
func quantiseQuery(dst []int16, v []float32, levels int) (scale, length float32) {
	clear(dst)
	largest := 0.0
	for _, f := range v {
		largest = max(largest, math.Abs(float64(f)))
	}
	length = upwards(norm(v))
	t := largest / float64(levels)
	if t < minScale {
		return float32(math.NaN()), length
	}
	for i, f := range v {
		dst[i] = int16(max(-float64(levels), min(float64(levels), math.RoundToEven(float64(f)/t))))
	}
	return float32(t), length
}

func norm(v []float32) float64 {
	sum := 0.0
	for _, f := range v {
		sum += float64(f) * float64(f)
	}
	return math.Sqrt(sum)
}

// upwards rounds to the next float32 that is not smaller.
func upwards(f float64) float32 {
	r := float32(f)
	if float64(r) < f {
		return math.Nextafter32(r, float32(math.Inf(1)))
	}
	return r
}

// product is the inner product in float64, rounded once: the score of a hit.
func product(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i])
		s1 += float64(a[i+1]) * float64(b[i+1])
		s2 += float64(a[i+2]) * float64(b[i+2])
		s3 += float64(a[i+3]) * float64(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return float32((s0 + s1) + (s2 + s3))
}
