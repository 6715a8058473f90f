package embedder

import (
	"slices"
	"testing"
	"time"
)

func TestPaceBoundsABatchInTime(t *testing.T) {
	p := pace{target: time.Second}
	if n := p.positions(4096); n != 4096 {
		t.Errorf("before any batch: %d positions, want the configured 4096", n)
	}
	p.ran(1000, 2*time.Second)
	if n := p.positions(4096); n != 500 {
		t.Errorf("at 2 ms a position: %d positions, want 500 in a second", n)
	}
	for range 40 {
		p.ran(1000, 100*time.Millisecond)
	}
	if n := p.positions(4096); n != 4096 {
		t.Errorf("at 0.1 ms a position: %d positions, want the configured 4096", n)
	}
	p.ran(1, time.Hour)
	if n := p.positions(4096); n != 1 {
		t.Errorf("at an hour a position: %d, want 1: a single video always goes", n)
	}
}

func TestPaceRemembersWhatMemoryRefused(t *testing.T) {
	var p pace
	p.refused(1000)
	p.refused(3000)
	p.ran(500, time.Millisecond)
	if n := p.positions(4096); n != 500 {
		t.Errorf("after a refusal at 1000: %d positions, want 500 until the end", n)
	}
}

// The second lot of videos meets the bound that the first one found.
func TestOutOfMemoryIsNotTriedTwice(t *testing.T) {
	m := &fakeModel{most: 3, gate: make(chan struct{}, 1000)}
	b := newBatcher(t, m, limits{videos: 64, positions: 1 << 20})
	for lot := range 2 {
		before := len(m.batches())
		done := make(chan map[string]error)
		go func() { done <- embedAll(t, b, bulk, ids(16)...) }()
		await(t, "all queued or at the model", func() bool {
			calls := m.batches()
			return len(calls) > before && len(slices.Concat(calls[before:]...))+b.queue.depth(bulk) == 16
		})
		for range 100 {
			m.gate <- struct{}{}
		}
		if failed := <-done; len(failed) > 0 {
			t.Fatalf("lot %d failed: %v", lot, failed)
		}
		for len(m.gate) > 0 {
			<-m.gate
		}
		if lot == 1 {
			for _, call := range m.batches()[before:] {
				if len(call) > m.most {
					t.Errorf("a batch of %d after memory refused such batches", len(call))
				}
			}
		}
	}
}

func TestTimingsOfAnAnswer(t *testing.T) {
	m := &fakeModel{gate: make(chan struct{})}
	b := newBatcher(t, m, limits{videos: 1, positions: 1 << 20})
	answers := make(chan result, 2)
	for _, id := range []string{"first", "second"} {
		go func() {
			r, err := b.embed(t.Context(), interactive, row(id))
			if err != nil {
				t.Error(err)
			}
			answers <- r
		}()
	}
	await(t, "one at the model, one in the queue", func() bool {
		return len(m.batches()) == 1 && b.queue.depth(interactive) == 1
	})
	const pause = 30 * time.Millisecond
	time.Sleep(pause)
	close(m.gate)
	first, second := <-answers, <-answers
	if first.forward < second.forward {
		first, second = second, first
	}
	if first.forward < pause || second.wait < pause {
		t.Errorf("forward %s of the first, wait %s of the second: want both at least %s", first.forward, second.wait, pause)
	}
}
