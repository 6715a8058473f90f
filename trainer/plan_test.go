package trainer

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func itemsOf(p plan) (all []int) {
	for i := range p.Len() {
		all = append(all, p.Items(i)...)
	}
	return all
}

func TestPlansHoldEveryItemOnceAndNeverOneAlone(t *testing.T) {
	for n := 2; n <= 200; n++ {
		for _, p := range []plan{shuffled(n, 16, 1, n), inOrder(n, 16)} {
			for i := range p.Len() {
				if b := p.Items(i); len(b) < 2 || len(b) > 17 {
					t.Fatalf("n=%d: a batch of %d", n, len(b))
				}
			}
			all := itemsOf(p)
			slices.Sort(all)
			if len(all) != n {
				t.Fatalf("n=%d: %d items", n, len(all))
			}
			for i, item := range all {
				if i != item {
					t.Fatalf("n=%d: item %d missing or repeated", n, i)
				}
			}
		}
	}
}

func TestPlansOfFewItems(t *testing.T) {
	for _, c := range []struct{ n, size, batches int }{{0, 4, 0}, {1, 4, 1}, {3, 1, 3}, {4, 4, 1}, {5, 4, 1}, {6, 4, 2}, {9, 4, 2}} {
		if got := inOrder(c.n, c.size).Len(); got != c.batches {
			t.Errorf("%d items by %d: %d batches, want %d", c.n, c.size, got, c.batches)
		}
	}
	if got := itemsOf(inOrder(5, 2)); !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
		t.Errorf("in order: %v", got)
	}
}

func TestOrderDependsOnSeedAndEpochAlone(t *testing.T) {
	base := fmt.Sprint(itemsOf(shuffled(50, 8, 1, 0)))
	if fmt.Sprint(itemsOf(shuffled(50, 8, 1, 0))) != base {
		t.Error("same seed and epoch, another order")
	}
	if fmt.Sprint(itemsOf(shuffled(50, 8, 1, 1))) == base || fmt.Sprint(itemsOf(shuffled(50, 8, 2, 0))) == base {
		t.Error("another seed or epoch, the same order")
	}
}

// Over many epochs every item is about as often at every place, and after every
// other item: the shuffle is global, for few items and for many. The statistics
// are chi-squared; five standard deviations of it are allowed.
func TestOrderIsUniform(t *testing.T) {
	for _, n := range []int{3, 7, 16, 61} {
		const epochs = 4000
		place := make([]float64, n*n)
		after := make([]float64, n*n)
		for epoch := range epochs {
			order := itemsOf(shuffled(n, 8, 9, epoch))
			for i, item := range order {
				place[i*n+item]++
				if i > 0 {
					after[order[i-1]*n+item]++
				}
			}
		}
		chi := 0.0
		for _, c := range place {
			want := float64(epochs) / float64(n)
			chi += (c - want) * (c - want) / want
		}
		if df := float64((n - 1) * (n - 1)); math.Abs(chi-df) > 5*math.Sqrt(2*df) {
			t.Errorf("n=%d: places: chi-squared %.0f with %.0f degrees of freedom", n, chi, df)
		}
		chi = 0
		for i, c := range after {
			if i/n != i%n {
				want := float64(epochs) / float64(n)
				chi += (c - want) * (c - want) / want
			}
		}
		if df := float64(n*(n-1) - 1); math.Abs(chi-df) > 5*math.Sqrt(2*df) {
			t.Errorf("n=%d: neighbours: chi-squared %.0f with %.0f degrees of freedom", n, chi, df)
		}
	}
}

// A plan of a million videos costs no memory, only time when it is asked.
func BenchmarkShuffledItems(b *testing.B) {
	p := shuffled(1_000_000, 256, 1, 1)
	for i := 0; b.Loop(); i++ {
		p.Items(i % p.Len())
	}
}
