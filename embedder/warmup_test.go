package embedder

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/torch"
)

func warmedUp(t *testing.T, m *fakeModel, l limits) error {
	t.Helper()
	return warmUp(t.Context(), &health{model: m, canary: row("canary")}, l, row("short"), slog.New(slog.DiscardHandler))
}

func TestWarmUpRunsWhatComes(t *testing.T) {
	for _, c := range []struct {
		device torch.Device
		limits limits
		want   []int // videos, after the canary
	}{
		{torch.CPU, limits{videos: 20, positions: 4096}, []int{20}},
		{torch.CUDA, limits{videos: 20, positions: 4096}, []int{20, 10, 5, 2, 1}},
		{torch.CUDA, limits{videos: 20, positions: 30}, []int{4, 2, 1}}, // 7 positions a video
		{torch.CPU, limits{videos: 20, positions: 1}, []int{1}},
	} {
		m := &fakeModel{device: c.device}
		if err := warmedUp(t, m, c.limits); err != nil {
			t.Fatal(err)
		}
		var sizes []int
		for _, call := range m.batches() {
			sizes = append(sizes, len(call))
		}
		if first := m.batches()[1]; len(first) > 1 && (first[0] != "canary" || first[len(first)-1] != "short") {
			t.Errorf("%v: the largest batch is of %v, want full videos and a short one", c.device, first)
		}
		if !slices.Equal(sizes, append([]int{1}, c.want...)) {
			t.Errorf("%v, %+v: batches of %v videos, want 1, then %v", c.device, c.limits, sizes, c.want)
		}
	}
}

func TestWarmUpToleratesOnlyWantOfMemory(t *testing.T) {
	m := &fakeModel{device: torch.CUDA, most: 8}
	if err := warmedUp(t, m, limits{videos: 16, positions: 4096}); err != nil || len(m.batches()) != 6 {
		t.Errorf("no memory for the largest: %v after batches %v, want a start with the smaller ones warm", err, m.batches())
	}
	m = &fakeModel{device: torch.CPU, most: -1}
	if err := warmedUp(t, m, limits{videos: 16, positions: 4096}); errs.FieldOf(err) != "memory-limit" || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("no memory for one video: %v, want what was short, and the setting that says so", err)
	}
	m = &fakeModel{device: torch.CUDA, refuse: 16}
	if err := warmedUp(t, m, limits{videos: 16, positions: 4096}); err == nil || !strings.Contains(err.Error(), "kernel failed") {
		t.Errorf("%v, want the device's own error", err)
	}
}
