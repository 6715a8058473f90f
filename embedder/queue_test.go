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

func TestBatchIsTheOldest(t *testing.T) {
	q := newQueue(limits{videos: 3, positions: 100})
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
	if n := cost(items[:3]); n != 85 {
		t.Errorf("cost %d of 40, 10 and 35 positions, want 85", n)
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

func TestStage(t *testing.T) {
	q := newQueue(limits{videos: 2, positions: 100})
	a, b, c, d := waiting(1), waiting(1), waiting(1), waiting(1)
	pushAll(t, q, bulk, a)
	if got := q.stage(); got != nil {
		t.Fatalf("staged %d items that others may join until their turn", len(got))
	}
	pushAll(t, q, bulk, b)
	if got := q.stage(); !same(got, []*item{a, b}) {
		t.Fatalf("staged %d items, want the full batch", len(got))
	}
	pushAll(t, q, bulk, c, d)
	if got := q.stage(); got != nil {
		t.Fatal("staged a second batch before the first one's turn")
	}
	if n := q.depth(bulk); n != 4 {
		t.Errorf("depth %d with two staged and two behind, want 4", n)
	}
	q.remove(bulk, b)
	for n, want := range [][]*item{{a}, {c, d}} {
		if got, l := q.take(); l != bulk || !same(got, want) {
			t.Fatalf("take %d: %d items, want %d: first what is staged", n, len(got), len(want))
		}
	}
}

// A batch that is staged alone counts as the stream's wait for its share.
func TestStagedBatchGetsTheStreamsShare(t *testing.T) {
	q := newQueue(limits{videos: 1, positions: 100})
	first := waiting(1)
	pushAll(t, q, bulk, first, waiting(1))
	q.stage()
	for range 2 * interactiveRun {
		pushAll(t, q, interactive, waiting(1))
	}
	for range interactiveRun {
		if _, l := q.take(); l != interactive {
			t.Fatal("the staged batch went before the requests")
		}
	}
	if got, l := q.take(); l != bulk || !same(got, []*item{first}) {
		t.Fatalf("after %d batches of requests: lane %s, want the staged one", interactiveRun, l)
	}
}
