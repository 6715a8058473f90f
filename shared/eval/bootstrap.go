package eval

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Interval is a confidence interval of a correlation. Both ends are NaN where
// no resample has a defined one.
type Interval struct {
	Low, High float64
	// Resamples is how many had a defined coefficient.
	Resamples int
}

// intervalShare is the share of resamples inside an Interval.
const intervalShare = 0.95

// SpearmanInterval is the 95 % percentile bootstrap interval of Spearman(x, y)
// (Efron, Tibshirani 1993, chapter 13): pairs are drawn with replacement, as
// many as there are, resamples times over. The same seed gives the same
// interval on any number of cores. Pairs count as independent: where many of
// them share a video, the truth is somewhat wider.
//
// 1,000 resamples of 67,899 pairs take under a second on two cores: values are
// sorted once, and the ranks of a resample follow from how often each was
// drawn. It ends early with ctx's error.
func SpearmanInterval(ctx context.Context, x, y []float64, resamples int, seed uint64) (Interval, error) {
	none := Interval{Low: math.NaN(), High: math.NaN()}
	if resamples <= 0 || math.IsNaN(Spearman(x, y)) {
		return none, nil
	}
	p := prepareRanks(x, y)
	out := make([]float64, resamples)
	workers := min(runtime.GOMAXPROCS(0), resamples)
	group, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		group.Go(func() error {
			r := p.resampler()
			for i := w; i < resamples; i += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				out[i] = r.spearman(rand.NewPCG(seed, uint64(i)))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return none, err
	}
	out = slices.DeleteFunc(out, math.IsNaN)
	if len(out) == 0 {
		return none, nil
	}
	slices.Sort(out)
	tail := (1 - intervalShare) / 2
	return Interval{Low: quantile(out, tail), High: quantile(out, 1-tail), Resamples: len(out)}, nil
}

// quantile interpolates linearly in sorted values, as numpy does by default.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// rankedPairs are pairs in rising order of y. Equal values form a level.
type rankedPairs struct {
	levelX  []int32 // of every pair, from 0
	ends    []int32 // of every level of y: the index behind its last pair
	levelsX int
}

func prepareRanks(x, y []float64) rankedPairs {
	byX, byY := orderOf(x), orderOf(y)
	level := make([]int32, len(x))
	p := rankedPairs{levelX: make([]int32, len(x))}
	for k, i := range byX {
		if k == 0 || x[byX[k-1]] != x[i] {
			p.levelsX++
		}
		level[i] = int32(p.levelsX - 1)
	}
	for k, i := range byY {
		p.levelX[k] = level[i]
		if k > 0 && y[byY[k-1]] != y[i] {
			p.ends = append(p.ends, int32(k))
		}
	}
	p.ends = append(p.ends, int32(len(y)))
	return p
}

// orderOf returns the indices of values in rising order.
func orderOf(values []float64) []int {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	return order
}

// resampler is the working memory of one goroutine.
type resampler struct {
	rankedPairs
	drawn  []int32   // how often each pair was drawn
	countX []int32   // pairs drawn of each level of x
	rankX  []float64 // mean rank of each level of x, less the mean of all ranks
}

func (p rankedPairs) resampler() *resampler {
	return &resampler{p, make([]int32, len(p.levelX)), make([]int32, p.levelsX), make([]float64, p.levelsX)}
}

// spearman draws a resample and returns its coefficient.
func (r *resampler) spearman(rng *rand.PCG) float64 {
	r.draw(rng)
	clear(r.countX)
	for i, n := range r.drawn {
		r.countX[r.levelX[i]] += n
	}
	middle := float64(len(r.drawn)+1) / 2
	below, xx := 0, 0.0
	for level, n := range r.countX {
		rank := float64(below) + float64(n+1)/2 - middle
		r.rankX[level] = rank
		xx += float64(n) * rank * rank
		below += int(n)
	}
	below, from, yy, xy := 0, int32(0), 0.0, 0.0
	for _, end := range r.ends {
		count, sum := 0, 0.0
		for i, n := range r.drawn[from:end] {
			count += int(n)
			sum += float64(n) * r.rankX[r.levelX[int(from)+i]]
		}
		rank := float64(below) + float64(count+1)/2 - middle
		yy += float64(count) * rank * rank
		xy += rank * sum
		below += count
		from = end
	}
	if xx == 0 || yy == 0 {
		return math.NaN()
	}
	return max(-1, min(1, xy/math.Sqrt(xx*yy)))
}

// draw picks as many pairs as there are, two with each random number: 32 bits
// times n is uneven by n/2^32 at most (Lemire 2019), which is nothing here.
func (r *resampler) draw(rng *rand.PCG) {
	clear(r.drawn)
	n := uint64(len(r.drawn))
	for left := len(r.drawn); left > 0; left -= 2 {
		bits64 := rng.Uint64()
		r.drawn[n*(bits64>>32)>>32]++
		if left > 1 {
			r.drawn[n*(bits64&math.MaxUint32)>>32]++
		}
	}
}
