package trainer

import (
	"fmt"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/eval"
)

func TestSplitKeepsComponentsTogether(t *testing.T) {
	var pairs []eval.Pair
	for c := range 100 { // 100 chains of four videos
		for i := range 3 {
			pairs = append(pairs, eval.Pair{A: fmt.Sprintf("%d-%d", c, i), B: fmt.Sprintf("%d-%d", c, i+1), Label: 0.5, HasLabel: true})
		}
	}
	for seed := range uint64(20) {
		s, err := splitPairs(pairs, 0.2, seed)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.HeldOut) != 60 || len(s.Train) != 240 || s.Crossing != 0 {
			t.Fatalf("seed %d: held out %d, train %d, crossing %d; want 60, 240, 0", seed, len(s.HeldOut), len(s.Train), s.Crossing)
		}
		assertNoLeak(t, s)
	}
}

// One component that holds everything forces the cut between videos.
func TestSplitCutsAGiantComponent(t *testing.T) {
	var pairs []eval.Pair
	for i := range 400 {
		for _, step := range []int{1, 2, 7} {
			pairs = append(pairs, eval.Pair{A: fmt.Sprint(i), B: fmt.Sprint((i + step) % 400), Label: 0.5, HasLabel: true})
		}
	}
	s, err := splitPairs(pairs, 0.1, 3)
	if err != nil {
		t.Fatal(err)
	}
	assertNoLeak(t, s)
	if len(s.HeldOut) < 120 || s.Crossing == 0 || len(s.HeldOut)+len(s.Train)+s.Crossing != len(pairs) {
		t.Fatalf("held out %d, train %d, crossing %d of %d", len(s.HeldOut), len(s.Train), s.Crossing, len(pairs))
	}
}

func TestSplitIsReproducible(t *testing.T) {
	var pairs []eval.Pair
	for i := range 200 {
		pairs = append(pairs, eval.Pair{A: fmt.Sprint("a", i), B: fmt.Sprint("b", i)})
	}
	first, err := splitPairs(pairs, 0.2, 5)
	if err != nil {
		t.Fatal(err)
	}
	again, err := splitPairs(pairs, 0.2, 5)
	if err != nil {
		t.Fatal(err)
	}
	other, err := splitPairs(pairs, 0.2, 6)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(first.HeldOut) != fmt.Sprint(again.HeldOut) {
		t.Error("the same seed held out other pairs")
	}
	if fmt.Sprint(first.HeldOut) == fmt.Sprint(other.HeldOut) {
		t.Error("another seed held out the same pairs")
	}
}

func TestSplitRefusesTooFewPairs(t *testing.T) {
	_, err := splitPairs([]eval.Pair{{A: "a", B: "b"}, {A: "c", B: "d"}}, 0.5, 1)
	if errs.KindOf(err) != errs.Invalid {
		t.Fatalf("err = %v, want kind invalid", err)
	}
}

func assertNoLeak(t *testing.T, s *Split) {
	t.Helper()
	held := make(map[string]bool)
	for _, p := range s.HeldOut {
		held[p.A], held[p.B] = true, true
		if !s.IsHeldOut(p.A) || !s.IsHeldOut(p.B) {
			t.Fatalf("pair %s %s is held out but one of its videos is not", p.A, p.B)
		}
	}
	for _, p := range s.Train {
		if held[p.A] || held[p.B] || s.IsHeldOut(p.A) || s.IsHeldOut(p.B) {
			t.Fatalf("training pair %s %s shares a video with the held-out pairs", p.A, p.B)
		}
	}
}
