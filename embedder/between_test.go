package embedder

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"videosim/shared/errs"
)

// layered starts a batcher whose model calls at before each layer of a batch of the
// stream.
func layered(t *testing.T, m *fakeModel, at func(b *batcher, n int)) *batcher {
	t.Helper()
	b := newBatcher(t, m, limits{videos: 4, positions: 1 << 20})
	m.layer = func(n int) { at(b, n) }
	return b
}

// arrive puts a query into the queue and returns where its answer comes.
func arrive(b *batcher, id string) *item {
	it := &item{ctx: context.Background(), input: row(id), positions: positions(row(id)), result: make(chan result, 1)}
	if err := b.queue.push(interactive, it); err != nil {
		it.result <- result{err: err}
	}
	return it
}

func TestStreamStandsAsideForAQuery(t *testing.T) {
	var query *item
	answered := 0
	b := layered(t, &fakeModel{}, func(b *batcher, n int) {
		if n == 5 {
			query = arrive(b, "query")
		}
		if query != nil && len(query.result) == 1 && answered == 0 {
			answered = n
		}
	})
	if failed := embedAll(t, b, bulk, "a"); len(failed) > 0 {
		t.Error(failed)
	}
	r := <-query.result
	if r.err != nil || !slices.Equal(r.late, fakeHalf("query", 1)) {
		t.Errorf("the query: %v", r.err)
	}
	if answered != 6 {
		t.Errorf("the query of layer 5 was answered before layer %d, want 6", answered)
	}
}

// TestStreamStandsAsideEvenly floods the interactive lane: a batch of the stream must
// go on, and no ninth of it may pass without a query.
func TestStreamStandsAsideEvenly(t *testing.T) {
	m := &fakeModel{}
	var at []int // the layers before which one more query had been embedded
	calls := 0
	b := layered(t, m, func(b *batcher, n int) {
		if now := len(m.batches()); now > calls && n > 1 {
			at = append(at, n)
		}
		for b.queue.depth(interactive) < 8 {
			arrive(b, "query")
		}
		calls = len(m.batches())
	})
	if failed := embedAll(t, b, bulk, "a"); len(failed) > 0 {
		t.Error(failed)
	}
	if want := []int{3, 5, 7, 9, 11, 13, 15, 17}; !slices.Equal(at, want) {
		t.Errorf("aside before the layers %v, want %v", at, want)
	}
}

// TestQueryThatFailsBetweenLayers: it is tried again in its turn, alone, and the batch
// that it came between is untouched.
func TestQueryThatFailsBetweenLayers(t *testing.T) {
	m := &fakeModel{poison: "poison"}
	var poison, query *item
	b := layered(t, m, func(b *batcher, n int) {
		if n == 3 {
			poison, query = arrive(b, "poison"), arrive(b, "query")
		}
	})
	if failed := embedAll(t, b, bulk, "a"); len(failed) > 0 {
		t.Error(failed)
	}
	if r := <-query.result; r.err != nil {
		t.Errorf("the query beside it: %v", r.err)
	}
	if r := <-poison.result; r.err == nil || !strings.Contains(r.err.Error(), "kernel failed") || errs.KindOf(r.err) != errs.Internal {
		t.Errorf("the poisoned query: %v, want its own failure", r.err)
	}
	tried := 0
	for _, ids := range m.batches() {
		if slices.Equal(ids, []string{"poison", "query"}) {
			tried++
		}
	}
	if tried != 2 {
		t.Errorf("both queries were tried together %d times, want once between layers and once in turn: %v", tried, m.batches())
	}
}

// TestStopWhileAQueryIsBetweenLayers: what fails then is answered.
func TestStopWhileAQueryIsBetweenLayers(t *testing.T) {
	m := &fakeModel{poison: "poison"}
	var poison *item
	b := layered(t, m, func(b *batcher, n int) {
		if n == 3 {
			poison = arrive(b, "poison")
			batch := b.queue.takeBetween(n, fakeLayers)
			b.queue.close(interactive)
			b.queue.putBack(batch)
		}
	})
	if failed := embedAll(t, b, bulk, "a"); len(failed) > 0 {
		t.Error(failed)
	}
	if r := <-poison.result; !errors.Is(r.err, errStopping) {
		t.Errorf("%v, want %v", r.err, errStopping)
	}
}

// TestTimeAsideIsNotTheBatchs: what the stream's batches cost is learnt without the
// queries between their layers.
func TestTimeAsideIsNotTheBatchs(t *testing.T) {
	m := &fakeModel{pause: 200 * time.Millisecond}
	b := layered(t, m, func(b *batcher, n int) {
		if n == 3 {
			arrive(b, "query")
		}
	})
	r, err := b.embed(t.Context(), bulk, row("a"))
	if err != nil {
		t.Fatal(err)
	}
	learnt := time.Duration(b.pace.each * float64(positions(row("a"))) * float64(time.Second))
	if len(m.batches()) != 2 || r.forward > m.pause/2 || learnt > m.pause/2 {
		t.Errorf("%d batches; the stream's took %s, and %s was learnt; it stood aside for %s", len(m.batches()), r.forward, learnt, m.pause)
	}
}

// TestHalvesStandAside: a batch that is refused at its end, and its halves after it,
// keep queries waiting no longer than others do.
func TestHalvesStandAside(t *testing.T) {
	m := &fakeModel{refuse: 2}
	b := idleBatcher(m, limits{videos: 4, positions: 1 << 20})
	m.layer = func(int) {
		if b.queue.depth(interactive) == 0 {
			arrive(b, "query")
		}
	}
	var stream []*item
	for _, id := range []string{"a", "b"} {
		stream = append(stream, &item{ctx: t.Context(), input: row(id), positions: positions(row(id)), result: make(chan result, 1)})
	}
	b.serve(t.Context(), stream, bulk)
	for _, it := range stream {
		if r := <-it.result; r.err != nil {
			t.Error(r.err)
		}
	}
	var queries []int // in each batch of the stream
	for _, ids := range m.batches() {
		if ids[0] == "query" {
			queries[len(queries)-1]++
		} else {
			queries = append(queries, 0)
		}
	}
	if want := []int{interactiveRun, interactiveRun, interactiveRun}; !slices.Equal(queries, want) {
		t.Errorf("%v queries within the batch and its halves, want %v", queries, want)
	}
}
