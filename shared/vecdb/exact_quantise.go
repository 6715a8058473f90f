package vecdb

import "math"

// roundingSlack covers, relative to the norms of row and query, every rounding
// of float32 between the quantised product and the comparison: a handful of
// operations of 2^-24 each, with a margin of ten.
const roundingSlack = 4e-6

// minScale keeps products of scales far from float32's subnormal numbers, whose
// rounding the slack does not cover. Vectors below it have norms under 1e-8.
const minScale = 1e-12

const (
	// rowMiddle is the quantised value that stands for 0: a row's numbers are
	// 0 to 15 and mean scale·(u − 7.5).
	rowMiddle = 7.5
	// rowClip is what of a row's largest number the outermost level stands for.
	// Somewhat less than all of it brings the other levels closer together: of
	// normally distributed numbers, 0.9 leaves the smallest residual.
	rowClip = 0.9
	// queryLevels is the largest absolute value of a quantised query: int8.
	queryLevels = 127
)

// quantise writes v in 4 bits a number to dst, which holds half as many bytes
// as the padded row has numbers, in the kernel's order: of each 64 numbers the
// first 32 in the low halves of 32 bytes, the others in the high ones. It
// returns the row's scale, its slack and its reach. With x = x̂ + r (the row),
// x̂ = scale·(u − 7.5), and y = t·p + w (the query):
//
//	x·y = x̂·(t·p) + x̂·w + r·y ≤ scale·t·((u − 7.5)·p) + ‖x̂‖ ‖w‖ + ‖r‖ ‖y‖
//
// The slack is ‖r‖ with what float32 may round away, the reach is ‖x̂‖. So no
// true product is above the kernel's value: a row whose value is below the
// k-th best product found cannot be among the k best.
func quantise(dst []byte, v []float32) (scale, slack, reach float32) {
	clear(dst)
	largest := float32(0)
	for _, f := range v {
		largest = max(largest, float32(math.Abs(float64(f))))
	}
	scale = largest * (rowClip / rowMiddle)
	if scale < minScale { // all of the row is residual
		return 0, upwards(norm(v) * (1 + roundingSlack)), 0
	}
	inverse := 1 / float64(scale)
	residual, kept := 0.0, 0.0
	for i, f := range v {
		u := math.Floor(float64(f)*inverse + rowMiddle + 0.5)
		u = max(0, min(2*rowMiddle, u))
		dst[i/64*32+i%32] |= byte(u) << (i % 64 / 32 * 4)
		approx := (u - rowMiddle) * float64(scale)
		residual += (float64(f) - approx) * (float64(f) - approx)
		kept += approx * approx
	}
	residual, kept = math.Sqrt(residual), math.Sqrt(kept)
	return scale, upwards((residual + kept*roundingSlack) * (1 + roundingSlack)), upwards(kept * (1 + roundingSlack))
}

// queryForm is a quantised query: p, and what the bound needs of it.
type queryForm struct {
	numbers  []int8  // p
	offset   int32   // 15·Σp: the kernel works with 2·(u·p) − offset
	scale    float32 // t/2; NaN where the query is too small for it, so that no row is ruled out
	norm     float32 // ‖y‖
	residual float32 // ‖w‖
}

func quantiseQuery(v []float32, stride int) queryForm {
	q := queryForm{numbers: make([]int8, stride), norm: upwards(norm(v))}
	largest := 0.0
	for _, f := range v {
		largest = max(largest, math.Abs(float64(f)))
	}
	t := float64(float32(largest / queryLevels))
	if t < minScale {
		q.scale = float32(math.NaN())
		return q
	}
	residual := 0.0
	for i, f := range v {
		p := max(-queryLevels, min(queryLevels, math.RoundToEven(float64(f)/t)))
		q.numbers[i] = int8(p)
		q.offset += 2 * rowMiddle * int32(p)
		residual += (float64(f) - p*t) * (float64(f) - p*t)
	}
	q.scale, q.residual = float32(t/2), upwards(math.Sqrt(residual)*(1+roundingSlack))
	return q
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
