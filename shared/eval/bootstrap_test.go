package eval_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"videosim/shared/eval"
)

// labelled makes n pairs as the challenge has them: labels in steps of 0.05,
// half of them 0 or 1, and scores around them.
func labelled(n int, seed uint64) (labels, scores []float64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	for range n {
		label := float64(rng.IntN(21)) / 20
		switch rng.IntN(4) {
		case 0:
			label = 0
		case 1:
			label = 1
		}
		labels, scores = append(labels, label), append(scores, label+0.5*rng.NormFloat64())
	}
	return labels, scores
}

func interval(t *testing.T, x, y []float64, resamples int, seed uint64) eval.Interval {
	t.Helper()
	in, err := eval.SpearmanInterval(context.Background(), x, y, resamples, seed)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// The interval equals that of resamples which are drawn, ranked and correlated
// one by one in the plain way: the two differ by their random numbers alone.
func TestIntervalIsThatOfPlainResampling(t *testing.T) {
	labels, scores := labelled(300, 1)
	got := interval(t, labels, scores, 4000, 1)
	rng := rand.New(rand.NewPCG(9, 9))
	below, above := 0, 0
	const plain = 4000
	for range plain {
		var x, y []float64
		for range labels {
			i := rng.IntN(len(labels))
			x, y = append(x, labels[i]), append(y, scores[i])
		}
		switch r := eval.Spearman(x, y); {
		case r < got.Low:
			below++
		case r > got.High:
			above++
		}
	}
	// 2.5 % of 4000 are 100; five standard deviations of the difference of two such counts.
	const slack = 70
	if math.Abs(float64(below)-0.025*plain) > slack || math.Abs(float64(above)-0.025*plain) > slack {
		t.Errorf("of %d plain resamples %d lie below and %d above %+v, expected about 100 each", plain, below, above, got)
	}
}

// An interval of 95 % covers the truth in about 95 of 100 experiments.
func TestIntervalCoversTheTruth(t *testing.T) {
	x, y := labelled(200_000, 2)
	truth := eval.Spearman(x, y)
	covered := 0
	const experiments = 300
	for seed := range uint64(experiments) {
		labels, scores := labelled(400, 100+seed)
		if in := interval(t, labels, scores, 400, seed); in.Low <= truth && truth <= in.High {
			covered++
		}
	}
	if share := float64(covered) / experiments; share < 0.91 || share > 0.985 {
		t.Errorf("%.1f %% of the intervals cover the truth, expected about 95", 100*share)
	}
}

func TestIntervalDependsOnTheSeedAlone(t *testing.T) {
	labels, scores := labelled(500, 3)
	first := interval(t, labels, scores, 200, 5)
	if again := interval(t, labels, scores, 200, 5); again != first {
		t.Errorf("%+v, then %+v", first, again)
	}
	if other := interval(t, labels, scores, 200, 6); other == first {
		t.Errorf("another seed gives the same %+v", other)
	}
	if r := eval.Spearman(labels, scores); !(first.Low < r && r < first.High) || first.Resamples != 200 {
		t.Errorf("%+v around %v", first, r)
	}
}

func TestIntervalOfLittle(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		x, y      []float64
		resamples int
	}{
		"nothing":      {nil, nil, 100},
		"one pair":     {[]float64{1}, []float64{1}, 100},
		"constant":     {[]float64{1, 1, 1}, []float64{1, 2, 3}, 100},
		"NaN":          {[]float64{1, nan, 2}, []float64{1, 2, 3}, 100},
		"no resamples": {[]float64{1, 2, 3}, []float64{1, 2, 3}, 0},
	} {
		if in := interval(t, c.x, c.y, c.resamples, 1); !math.IsNaN(in.Low) || !math.IsNaN(in.High) || in.Resamples != 0 {
			t.Errorf("%s: %+v, want an undefined interval", name, in)
		}
	}
	// Of two pairs half of the resamples are one pair twice.
	if in := interval(t, []float64{1, 2}, []float64{1, 2}, 1000, 1); in.Low != 1 || in.High != 1 || in.Resamples < 400 || in.Resamples > 600 {
		t.Errorf("two pairs: %+v", in)
	}
}

func TestIntervalEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	labels, scores := labelled(1000, 4)
	if _, err := eval.SpearmanInterval(ctx, labels, scores, 1000, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
}

// BenchmarkSpearmanInterval is one evaluation of the challenge's labels;
// BenchmarkSpearman is what one of its 1,000 resamples would cost if it ranked
// anew.
func BenchmarkSpearmanInterval(b *testing.B) {
	labels, scores := labelled(67_899, 1)
	for b.Loop() {
		if _, err := eval.SpearmanInterval(context.Background(), labels, scores, 1000, 1); err != nil {
			b.Fatal(err)
		}
	}
}
