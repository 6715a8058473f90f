package embedder

import (
	"context"
	"errors"
	"testing"
	"time"

	"videosim/shared/errs"
	"videosim/shared/video"
)

func waiting(length int) *item {
	return &item{
		ctx: context.Background(), positions: length, result: make(chan result, 1),
		input: &video.Batch{IDs: []string{"x"}},
	}
}

func pushAll(t *testing.T, q *queue, l lane, items ...*item) {
	t.Helper()
	for _, it := range items {
		if err := q.push(l, it); err != nil {
			t.Fatal(err)
		}
	}
}

func same(a, b []*item) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestInteractiveGoesFirst(t *testing.T) {
	q := newQueue(limits{videos: 2, positions: 100})
	b1, b2, b3, i1 := waiting(10), waiting(10), waiting(10), waiting(10)
	pushAll(t, q, bulk, b1, b2, b3)
	pushAll(t, q, interactive, i1)
	for n, want := range []struct {
		lane  lane
		items []*item
	}{{interactive, []*item{i1}}, {bulk, []*item{b1, b2}}, {bulk, []*item{b3}}} {
		got, l := q.take()
		if l != want.lane || !same(got, want.items) {
			t.Fatalf("take %d: lane %s, %d items; want lane %s, %d items in order of arrival", n, l, len(got), want.lane, len(want.items))
		}
	}
}

func TestInteractiveLoadLeavesTheStreamItsShare(t *testing.T) {
	q := newQueue(limits{videos: 1, positions: 100})
	for range 30 {
		pushAll(t, q, interactive, waiting(10))
		pushAll(t, q, bulk, waiting(10))
	}
	served := 0
	for range 27 {
		if _, l := q.take(); l == bulk {
			served++
		}
	}
	if served != 3 {
		t.Errorf("27 batches under full interactive load: %d of the stream, want 3", served)
	}
}

func TestBatchIsBoundedByPaddedLength(t *testing.T) {
	q := newQueue(limits{videos: 100, positions: 100})
	long, short := waiting(40), waiting(10)
	pushAll(t, q, bulk, long, short, waiting(35), waiting(12))
	got, _ := q.take()
	if len(got) != 2 || got[0] != long || got[1].positions != 35 {
		t.Fatalf("the oldest (40) leads a batch of %d, want it with 35: 2×40 fit into 100, 3×40 do not", len(got))
	}
	got, _ = q.take()
	if len(got) != 2 || got[0] != short {
		t.Fatalf("then %d items, want the two short ones", len(got))
	}
}

func TestPackedBatchIsTheOldest(t *testing.T) {
	q := newQueue(limits{videos: 3, positions: 100, packed: true})
	items := []*item{waiting(40), waiting(10), waiting(35), waiting(1), waiting(90), waiting(20)}
	pushAll(t, q, bulk, items...)
	for n, want := range [][]*item{items[:3], items[3:5], items[5:]} { // by videos, by positions, what is left
		got, _ := q.take()
		if !same(got, want) {
			t.Fatalf("batch %d: %d items, want the %d oldest", n, len(got), len(want))
		}
		for _, it := range got {
			it.result <- result{} // its own: no two batches share an item
		}
	}
	if cost := q.limits.cost(items[:3]); cost != 85 {
		t.Errorf("cost %d of 40, 10 and 35 positions without padding, want 85", cost)
	}
}

func TestOversizedItemGoesAlone(t *testing.T) {
	q := newQueue(limits{videos: 8, positions: 10})
	huge := waiting(50)
	pushAll(t, q, bulk, huge, waiting(5))
	if got, _ := q.take(); !same(got, []*item{huge}) {
		t.Fatalf("got %d items, want the oversized one alone", len(got))
	}
}

func TestTakeWaitsAndCloseEndsIt(t *testing.T) {
	q := newQueue(limits{videos: 8, positions: 100})
	taken := make(chan []*item)
	go func() {
		for {
			batch, _ := q.take()
			taken <- batch
			if batch == nil {
				return
			}
		}
	}()
	select {
	case <-taken:
		t.Fatal("take returned from an empty queue")
	case <-time.After(20 * time.Millisecond):
	}
	it := waiting(1)
	pushAll(t, q, bulk, it)
	if got := <-taken; !same(got, []*item{it}) {
		t.Fatalf("take woke with %d items, want the pushed one", len(got))
	}
	q.close(bulk)
	pushAll(t, q, interactive, it)
	if got := <-taken; !same(got, []*item{it}) {
		t.Fatal("closing one lane ended the other")
	}
	q.close(interactive)
	if got := <-taken; got != nil {
		t.Fatalf("take after close: %d items, want nil", len(got))
	}
	if err := q.push(bulk, waiting(1)); !errors.Is(err, errStopping) || errs.KindOf(err) != errs.Unavailable {
		t.Errorf("push after close: %v, want errStopping of kind Unavailable", err)
	}
}

func TestCloseFailsWhatWaits(t *testing.T) {
	q := newQueue(limits{videos: 8, positions: 100})
	a, b := waiting(1), waiting(1)
	pushAll(t, q, bulk, a)
	pushAll(t, q, interactive, b)
	q.close(bulk)
	q.close(interactive)
	for _, it := range []*item{a, b} {
		if r := <-it.result; !errors.Is(r.err, errStopping) {
			t.Errorf("waiting item got %v, want errStopping", r.err)
		}
	}
}

func TestRemove(t *testing.T) {
	q := newQueue(limits{videos: 8, positions: 100})
	a, b, c := waiting(1), waiting(1), waiting(1)
	pushAll(t, q, bulk, a, b, c)
	q.remove(bulk, b)
	q.remove(bulk, b)
	if got, _ := q.take(); !same(got, []*item{a, c}) {
		t.Fatalf("after removing the second of three: %d items left", len(got))
	}
}
