package embedder

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
)

var baseLengths = lengths{late: 64, early: 32, frames: 32}

func warmedUp(t *testing.T, m *fakeModel, l limits) error {
	t.Helper()
	return warmUp(t.Context(), &health{model: m, canary: row("canary")}, l, row("warm-up"), slog.New(slog.DiscardHandler))
}

// Whatever lengths videos have, the warm-up has run what they are padded to: with one
// row and with the most, in each tower, and in the encoder that takes two together.
func TestWarmUpRunsEveryBucket(t *testing.T) {
	l := limits{videos: 256, positions: 8192, full: baseLengths}
	m := &fakeModel{pads: true}
	if err := warmedUp(t, m, l); err != nil {
		t.Fatal(err)
	}
	type pair struct{ early, frames int }
	late, cross := map[bool]map[int]bool{true: {}, false: {}}, map[bool]map[pair]bool{true: {}, false: {}}
	for i, s := range m.shapes[1:] { // after the canary
		many := s.rows > 1
		if cost := s.rows * s.sum(); many && (s.rows > l.videos || cost > l.positions || cost+s.sum() <= l.positions && s.rows < l.videos) {
			t.Errorf("batch %d: %+v is not the largest within the limits", i, s)
		}
		late[many][s.late], cross[many][pair{s.early, s.frames}] = true, true
	}
	if first := m.shapes[1]; first.lengths != baseLengths || first.rows != 64 {
		t.Errorf("first %+v, want 64 rows of full length", first)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		n := lengths{2 + r.IntN(63), 2 + r.IntN(31), 1 + r.IntN(32)}
		to := l.pad(n)
		if to.max(n) != to || to.max(baseLengths) != baseLengths {
			t.Fatalf("%+v is padded to %+v", n, to)
		}
		for _, many := range []bool{true, false} {
			if !late[many][to.late] || !cross[many][pair{to.early, to.frames}] {
				t.Fatalf("%+v, padded to %+v, many rows %t: not run before", n, to, many)
			}
		}
	}
	if n := len(m.shapes); n > 40 {
		t.Errorf("%d batches to warm up, want at most 40", n)
	}
}

// Lengths that are no multiple of a bucket, and shorter than one.
func TestBucketsEndAtTheFullLength(t *testing.T) {
	l := limits{full: lengths{late: 20, early: 6, frames: 1}}
	if got, want := l.pad(lengths{17, 2, 1}), (lengths{20, 6, 1}); got != want {
		t.Errorf("padded to %+v, want %+v", got, want)
	}
	if got, want := l.pad(lengths{3, 6, 1}), (lengths{8, 6, 1}); got != want {
		t.Errorf("padded to %+v, want %+v", got, want)
	}
	l.packed = true
	if n := (lengths{3, 2, 1}); l.pad(n) != n {
		t.Errorf("without padding: %+v, want %+v", l.pad(n), n)
	}
}

func TestWarmUpToleratesOnlyWantOfMemory(t *testing.T) {
	m := &fakeModel{pads: true, most: 8}
	if err := warmedUp(t, m, limits{videos: 16, positions: 4096, full: baseLengths}); err != nil {
		t.Errorf("no memory for the largest batches: %v, want a start: they are halved", err)
	}
	m = &fakeModel{pads: true, poison: "warm-up"}
	if err := warmedUp(t, m, limits{videos: 16, positions: 4096, full: baseLengths}); err == nil || !strings.Contains(err.Error(), "kernel failed") {
		t.Errorf("%v, want the device's own error", err)
	}
}

// A packing device computes what the rows really hold, so they must be full.
func TestWarmUpWithoutPaddingIsOneFullBatch(t *testing.T) {
	m := &fakeModel{}
	if err := warmedUp(t, m, limits{videos: 16, positions: 4096, packed: true, full: baseLengths}); err != nil {
		t.Fatal(err)
	}
	canary := lengthsOf(row("canary"))
	if len(m.shapes) != 2 || m.shapes[1] != (fakeShape{16, canary}) || m.batches()[1][0] != "canary" {
		t.Errorf("batches %+v, want the canary alone and 16 of it", m.shapes)
	}
}
