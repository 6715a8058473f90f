package embedder

import (
	"context"
	"errors"
	"slices"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/torch"
)

// staging is a batcher whose model computes one batch of four videos while the next
// four are on the device already, and four more wait.
type staging struct {
	*batcher
	model   *fakeModel
	release chan struct{}
	failed  chan map[string]error // of the stream's videos, once
}

func startStaging(t *testing.T) *staging {
	t.Helper()
	gate := make(chan struct{}, 1)
	m := &fakeModel{device: torch.CUDA, gate: gate}
	s := &staging{batcher: newBatcher(t, m, limits{videos: 4, positions: 1 << 20}), model: m, release: gate, failed: make(chan map[string]error, 2)}
	go func() { s.failed <- embedAll(t, s.batcher, bulk, "first") }()
	await(t, "a batch at the model", func() bool { return len(m.batches()) == 1 })
	go func() { s.failed <- embedAll(t, s.batcher, bulk, ids(12)...) }()
	await(t, "twelve more in the queue", func() bool { return s.queue.depth(bulk) == 12 })
	gate <- struct{}{}
	await(t, "the next batch on the device", func() bool {
		var ahead int
		m.set(func() { ahead = len(m.ahead) })
		return ahead == 1
	})
	return s
}

// finish lets the model run and returns what failed of the stream.
func (s *staging) finish(t *testing.T) map[string]error {
	t.Helper()
	close(s.release)
	if failed := <-s.failed; len(failed) > 0 {
		t.Errorf("the first video: %v", failed)
	}
	return <-s.failed
}

func TestQueryOvertakesTheStagedBatch(t *testing.T) {
	s := startStaging(t)
	query := make(chan map[string]error, 1)
	go func() { query <- embedAll(t, s.batcher, interactive, "query") }()
	await(t, "the query in the queue", func() bool { return s.queue.depth(interactive) == 1 })
	failed := s.finish(t)
	if len(failed) > 0 {
		t.Error(failed)
	}
	if failed := <-query; len(failed) > 0 {
		t.Error(failed)
	}
	calls, m := s.model.batches(), s.model
	if len(calls) != 5 || !slices.Equal(calls[2], []string{"query"}) || !slices.Equal(calls[3], m.ahead[0]) {
		t.Errorf("batches %v, want the query third, then what was staged, %v", calls, m.ahead)
	}
	if m.found != 2 || len(m.ahead) != 2 {
		t.Errorf("%d of %d staged batches were used; want both: none beside a query", m.found, len(m.ahead))
	}
}

func TestVideoLeavesTheStagedBatch(t *testing.T) {
	gate := make(chan struct{})
	m := &fakeModel{device: torch.CUDA, gate: gate}
	b := newBatcher(t, m, limits{videos: 2, positions: 1 << 20})
	all := make(chan map[string]error, 3)
	go func() { all <- embedAll(t, b, bulk, "first") }()
	await(t, "a batch at the model", func() bool { return len(m.batches()) == 1 })
	push := func(ctx context.Context, id string, depth int) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := b.embed(ctx, bulk, row(id))
			done <- err
		}()
		await(t, id+" in the queue", func() bool { return b.queue.depth(bulk) == depth })
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	others := []chan error{push(t.Context(), "a", 1), push(t.Context(), "b", 2), push(t.Context(), "stays", 3)}
	leaves := push(ctx, "leaves", 4)
	others = append(others, push(t.Context(), "c", 5))
	gate <- struct{}{}
	await(t, "two on the device", func() bool {
		var staged bool
		m.set(func() { staged = m.staged != nil })
		return staged
	})
	cancel()
	if err := <-leaves; !errors.Is(err, context.Canceled) || errs.KindOf(err) != errs.Unavailable {
		t.Errorf("the one that left: %v, want Canceled as unavailable", err)
	}
	close(gate)
	for _, done := range others {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	<-all
	calls := m.batches()
	if len(calls) != 4 || !slices.Equal(calls[2], []string{"stays"}) || m.found != 0 {
		t.Errorf("batches %v, %d found on the device; want the third without the video that left, joined anew", calls, m.found)
	}
}

func TestStagedBatchIsHalvedWhereMemoryIsShort(t *testing.T) {
	s := startStaging(t)
	s.model.set(func() { s.model.most = 3 }) // from the staged batch on
	if failed := s.finish(t); len(failed) > 0 {
		t.Errorf("failed: %v, want all embedded in smaller batches", failed)
	}
	calls := s.model.batches()
	if !slices.Equal(calls[2], s.model.ahead[0]) || len(calls[3]) != 2 || len(calls[4]) != 2 {
		t.Errorf("batches %v, want the staged one refused and halved", calls)
	}
}

func TestStopGivesTheStagedBatchBack(t *testing.T) {
	s := startStaging(t)
	s.queue.close(bulk)
	failed := s.finish(t)
	calls, m := s.model.batches(), s.model
	if len(calls) != 2 {
		t.Errorf("batches %v after the stop, want the one in hand to be the last", calls)
	}
	if len(failed) != 8 {
		t.Errorf("%d videos failed, want the 4 staged and the 4 behind them", len(failed))
	}
	for _, id := range m.ahead[0] {
		if !errors.Is(failed[id], errStopping) {
			t.Errorf("%s: %v, want it back in the stream", id, failed[id])
		}
	}
}
