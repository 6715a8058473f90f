package testkit

import (
	"math"
	"testing"
)

// Close fails the test where got differs from want by more than gate times
// the largest absolute value in want (1 where want is all zero), or where one
// of the two is not finite and the other is not the same.
func Close(t testing.TB, name string, got, want []float32, gate float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, expected %d", name, len(got), len(want))
		return
	}
	at, worst := worstOf(got, want)
	if allowed := gate * largest(want); worst > allowed {
		t.Errorf("%s[%d]: got %v, want %v: differs by %.3g, allowed %.3g", name, at, got[at], want[at], worst, allowed)
	}
}

// worstOf returns the place and size of the largest difference; a value that
// is not finite differs infinitely from any other.
func worstOf(got, want []float32) (at int, worst float64) {
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		diff := math.Abs(g - w)
		switch {
		case g == w || math.IsNaN(g) && math.IsNaN(w):
			diff = 0
		case math.IsNaN(diff):
			diff = math.Inf(1)
		}
		if diff > worst {
			at, worst = i, diff
		}
	}
	return at, worst
}

func largest(values []float32) float64 {
	top := 0.0
	for _, v := range values {
		if a := math.Abs(float64(v)); a > top && !math.IsInf(a, 0) {
			top = a
		}
	}
	if top == 0 {
		return 1
	}
	return top
}
