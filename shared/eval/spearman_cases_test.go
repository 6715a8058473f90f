package eval_test

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"testing"

	"videosim/shared/eval"
)

// TestSpearmanIsSciPys repeats the 10,000 cases of testdata/spearman_cases.py,
// whose answers scipy.stats.spearmanr gave: ties, constants, fewer than two
// values, NaN, infinities, the least and the largest numbers.
func TestSpearmanIsSciPys(t *testing.T) {
	compareWithSciPy(t, "testdata/spearman.f64.gz", 1)
}

func compareWithSciPy(t *testing.T, answers string, seed uint64) {
	t.Helper()
	want := readAnswers(t, answers)
	rng := splitMix(seed)
	undefined, worst := 0, 0.0
	for i, w := range want {
		x, y := rng.samples()
		got := eval.Spearman(x, y)
		if math.IsNaN(w) || math.IsNaN(got) {
			undefined++
			if math.IsNaN(w) != math.IsNaN(got) {
				t.Fatalf("case %d: got %v, want %v of %v and %v", i, got, w, x, y)
			}
			continue
		}
		if worst = max(worst, math.Abs(got-w)); worst > 1e-12 {
			t.Fatalf("case %d: got %v, want %v of %v and %v", i, got, w, x, y)
		}
	}
	if len(want) != 10_000 || undefined < 1000 || undefined > 5000 {
		t.Errorf("%d cases, %d of them undefined: not the file that was meant", len(want), undefined)
	}
	t.Logf("%d cases, %d undefined, others within %.1e", len(want), undefined, worst)
}

func readAnswers(t *testing.T, path string) []float64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(data)/8)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return out
}

// splitMix is the generator of the script, with its draws in the same order.
type splitMix uint64

func (s *splitMix) next() uint64 {
	*s += 0x9E3779B97F4A7C15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

func (s *splitMix) below(n int) int { return int(s.next() % uint64(n)) }

func (s *splitMix) unit() float64 { return float64(s.next()>>11) * 0x1p-53 }

func (s *splitMix) value(kind, steps int) float64 {
	special := [...]float64{math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 5e-324, -5e-324, math.MaxFloat64, 1}
	switch kind {
	case 0:
		return s.unit()
	case 1:
		return float64(s.below(steps)) / 20
	case 2:
		return float64(steps) / 20
	case 3:
		return special[s.below(len(special))]
	case 4:
		return (s.unit() - 0.5) * 1e308
	case 5:
		return (s.unit() - 0.5) * 0x1p-1060
	case 6:
		return 1 + float64(s.below(steps))*0x1p-52
	}
	fraction := s.unit() - 0.5
	return math.Ldexp(fraction, s.below(2000)-1000)
}

func (s *splitMix) samples() (x, y []float64) {
	n := s.below(61)
	kindX, kindY := s.below(8), s.below(8)
	stepsX, stepsY := 1+s.below(21), 1+s.below(21)
	for range n {
		x = append(x, s.value(kindX, stepsX))
	}
	for range n {
		y = append(y, s.value(kindY, stepsY))
	}
	switch s.below(8) {
	case 0:
		y = slices.Clone(x)
	case 1:
		for i, v := range x {
			y[i] = -v
		}
	case 2:
		for i, v := range x {
			if s.below(5) != 0 {
				y[i] = v
			}
		}
	case 3:
		if n > 0 && s.below(4) == 0 {
			side := y
			if s.below(2) == 0 {
				side = x
			}
			side[s.below(n)] = math.NaN()
		}
	}
	return x, y
}
