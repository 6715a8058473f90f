package eval

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"videosim/shared/errs"
)

// Calibration maps a cosine to the scale of the labels, 0 to 1: a monotone,
// piecewise linear curve through (Cosines[i], Scores[i]). Cosines rise
// strictly from -1 to 1, Scores never fall, so it never reorders a ranking,
// and scores of different models mean the same.
//
// The zero Calibration, of a model that nobody calibrated, maps -1…1 to 0…1.
type Calibration struct {
	Cosines []float64 `json:"cosine,omitempty"`
	Scores  []float64 `json:"score,omitempty"`
}

const (
	// maxKnots keeps a manifest readable; labels come in about 20 steps, so
	// finer knots would follow noise.
	maxKnots = 64
	// fineBlocks bounds the work of thinning, which is quadratic.
	fineBlocks = 1024
)

// Score maps a cosine to [0, 1]. A NaN scores 0.
func (c Calibration) Score(cosine float64) float64 {
	if math.IsNaN(cosine) {
		return 0
	}
	cosine = max(-1, min(1, cosine))
	if len(c.Cosines) < 2 {
		return (cosine + 1) / 2
	}
	i := sort.SearchFloat64s(c.Cosines, cosine) // the first knot not below
	switch {
	case i == 0:
		return c.Scores[0]
	case i == len(c.Cosines):
		return c.Scores[i-1]
	}
	x0, x1, y0, y1 := c.Cosines[i-1], c.Cosines[i], c.Scores[i-1], c.Scores[i]
	return max(y0, min(y1, y0+(y1-y0)*(cosine-x0)/(x1-x0)))
}

// Validate checks a curve that was read from a file; a bad one is errs.Corrupt.
func (c Calibration) Validate() error {
	if len(c.Cosines) != len(c.Scores) {
		return errs.New(errs.Corrupt, "calibration: %d cosines and %d scores, expected as many", len(c.Cosines), len(c.Scores))
	}
	if len(c.Cosines) == 1 {
		return errs.New(errs.Corrupt, "calibration: expected no knots or at least 2, found 1")
	}
	for i := range c.Cosines {
		if !(c.Cosines[i] >= -1 && c.Cosines[i] <= 1) || !(c.Scores[i] >= 0 && c.Scores[i] <= 1) {
			return errs.New(errs.Corrupt, "calibration: knot %d is (%v, %v), expected a cosine in -1..1 and a score in 0..1", i, c.Cosines[i], c.Scores[i])
		}
		if i > 0 && (c.Cosines[i] <= c.Cosines[i-1] || c.Scores[i] < c.Scores[i-1]) {
			return errs.New(errs.Corrupt, "calibration: knot %d (%v, %v) does not rise above (%v, %v)", i, c.Cosines[i], c.Scores[i], c.Cosines[i-1], c.Scores[i-1])
		}
	}
	return nil
}

// FitCalibration fits the monotone curve of least squared error (isotonic
// regression, pool adjacent violators: Barlow et al. 1972), thins it to at
// most 64 knots and ties it down at (-1, 0) and (1, 1): a video compared with
// itself scores 1. Values that are not finite are left out; without any, the
// zero Calibration is returned. Unequal lengths are a bug and panic.
func FitCalibration(cosines, labels []float64) Calibration {
	return fit(appendPoints(nil, cosines, labels, 1))
}

// FitBalanced is FitCalibration of the pairs of two evaluations, each of which
// weighs as much as the other however many pairs it has.
func FitBalanced(a, b Result) Calibration {
	points := appendPoints(nil, a.Cosines, a.Labels, float64(max(len(b.Cosines), 1)))
	return fit(appendPoints(points, b.Cosines, b.Labels, float64(max(len(a.Cosines), 1))))
}

func fit(points []block) Calibration {
	blocks := poolViolators(mergeTies(points))
	if len(blocks) == 0 {
		return Calibration{}
	}
	return curve(thin(blocks, maxKnots-2))
}

// block is a run of points with rising cosines and their mean label.
type block struct{ weight, cosine, score float64 }

func (b block) join(next block) block {
	weight := b.weight + next.weight
	return block{
		weight: weight,
		cosine: (b.cosine*b.weight + next.cosine*next.weight) / weight,
		score:  (b.score*b.weight + next.score*next.weight) / weight,
	}
}

// appendPoints adds the points that are finite, each of the given weight.
func appendPoints(points []block, cosines, labels []float64, weight float64) []block {
	if len(cosines) != len(labels) {
		panic("eval: a calibration needs as many labels as cosines")
	}
	for i := range cosines {
		x, y := max(-1, min(1, cosines[i])), max(0, min(1, labels[i]))
		if !math.IsNaN(x) && !math.IsNaN(y) {
			points = append(points, block{weight, x, y})
		}
	}
	return points
}

// mergeTies returns one block for every different cosine, ascending.
func mergeTies(points []block) []block {
	// By label, too, so that sums round alike whatever the order of the points.
	slices.SortFunc(points, func(a, b block) int {
		return cmp.Or(cmp.Compare(a.cosine, b.cosine), cmp.Compare(a.score, b.score), cmp.Compare(a.weight, b.weight))
	})
	out := points[:0]
	for _, p := range points {
		if n := len(out); n > 0 && out[n-1].cosine == p.cosine {
			joined := out[n-1].join(p)
			joined.cosine = p.cosine // exactly, not to rounding
			out[n-1] = joined
			continue
		}
		out = append(out, p)
	}
	return out
}

// poolViolators joins neighbours until scores rise strictly.
func poolViolators(blocks []block) []block {
	out := blocks[:0]
	for _, b := range blocks {
		for len(out) > 0 && out[len(out)-1].score >= b.score {
			b = out[len(out)-1].join(b)
			out = out[:len(out)-1]
		}
		out = append(out, b)
	}
	return out
}

// thin joins neighbours until at most limit blocks are left: first down to
// blocks of equal weight, then always the two whose joining costs least
// squared error (Ward's criterion). Means of a rising sequence still rise.
func thin(blocks []block, limit int) []block {
	total := 0.0
	for _, b := range blocks {
		total += b.weight
	}
	if len(blocks) > fineBlocks {
		out := blocks[:0]
		for _, b := range blocks {
			if n := len(out); n > 0 && out[n-1].weight+b.weight <= total/(fineBlocks/2) {
				out[n-1] = out[n-1].join(b)
				continue
			}
			out = append(out, b)
		}
		blocks = out
	}
	for len(blocks) > limit {
		i := cheapest(blocks)
		blocks[i] = blocks[i].join(blocks[i+1])
		blocks = slices.Delete(blocks, i+1, i+2)
	}
	return blocks
}

// cheapest returns i such that joining blocks i and i+1 costs least.
func cheapest(blocks []block) int {
	best, bestCost := 0, math.Inf(1)
	for i := 0; i+1 < len(blocks); i++ {
		a, b := blocks[i], blocks[i+1]
		d := b.score - a.score
		if cost := d * d * a.weight * b.weight / (a.weight + b.weight); cost < bestCost {
			best, bestCost = i, cost
		}
	}
	return best
}

// curve runs through the blocks' means, tied down at both ends.
func curve(blocks []block) Calibration {
	c := Calibration{Cosines: []float64{-1}, Scores: []float64{0}}
	add := func(x, y float64) {
		if last := len(c.Cosines) - 1; x > c.Cosines[last] {
			c.Cosines, c.Scores = append(c.Cosines, x), append(c.Scores, y)
		}
	}
	for _, b := range blocks {
		if b.cosine < 1 {
			add(b.cosine, b.score)
		}
	}
	add(1, 1)
	return c
}
