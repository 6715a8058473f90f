package trainer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestLoaderKeepsOrderWithAnyNumberOfWorkers(t *testing.T) {
	batches := shuffledBatches(103, 8, 7, 2)
	var want []string
	for _, b := range batches {
		want = append(want, fmt.Sprint(b))
	}
	for _, workers := range []int{1, 3, 8} {
		l := loader[string]{workers: workers, ahead: 4, load: func(items []int) (string, error) {
			time.Sleep(time.Duration(items[0]%3) * time.Millisecond) // later batches may be ready first
			return fmt.Sprint(items), nil
		}}
		var got []string
		err := l.each(context.Background(), batches, func(_ []int, batch string) error {
			got = append(got, batch)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d workers: order differs", workers)
		}
	}
}

func TestLoaderStaysWithinItsLimit(t *testing.T) {
	var made, used atomic.Int64
	l := loader[int]{workers: 3, ahead: 3, load: func([]int) (int, error) {
		if lead := made.Add(1) - used.Load(); lead > 3 {
			return 0, fmt.Errorf("%d batches ahead", lead)
		}
		return 0, nil
	}}
	err := l.each(context.Background(), inOrder(200, 2), func([]int, int) error {
		used.Add(1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if used.Load() != 100 {
		t.Fatalf("used %d batches, want 100", used.Load())
	}
}

func TestLoaderStopsOnErrors(t *testing.T) {
	broken := errors.New("broken record")
	l := loader[int]{workers: 2, ahead: 2, load: func(items []int) (int, error) {
		if items[0] == 6 {
			return 0, broken
		}
		return items[0], nil
	}}
	used := 0
	err := l.each(context.Background(), inOrder(20, 2), func([]int, int) error { used++; return nil })
	if !errors.Is(err, broken) || used != 3 {
		t.Fatalf("err = %v after %d batches, want the load's error after 3", err, used)
	}

	diverged := errors.New("diverged")
	err = l.each(context.Background(), inOrder(20, 2), func([]int, int) error { return diverged })
	if !errors.Is(err, diverged) {
		t.Fatalf("err = %v, want the step's", err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err = l.each(ctx, inOrder(4, 2), func([]int, int) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("err = %v, want canceled", err)
	}
}

func TestBatchesHoldEveryItemOnceAndNeverOneAlone(t *testing.T) {
	for _, n := range []int{2, 3, 15, 16, 17, 33, 100} {
		var all []int
		for _, b := range shuffledBatches(n, 16, 1, 0) {
			if len(b) < 2 || len(b) > 17 {
				t.Fatalf("n=%d: a batch of %d", n, len(b))
			}
			all = append(all, b...)
		}
		slices.Sort(all)
		for i, item := range all {
			if i != item {
				t.Fatalf("n=%d: item %d missing or repeated", n, i)
			}
		}
		if len(all) != n {
			t.Fatalf("n=%d: %d items", n, len(all))
		}
	}
}

func TestOrderDependsOnSeedAndEpochAlone(t *testing.T) {
	base := fmt.Sprint(shuffledBatches(50, 8, 1, 0))
	if fmt.Sprint(shuffledBatches(50, 8, 1, 0)) != base {
		t.Error("same seed and epoch, another order")
	}
	if fmt.Sprint(shuffledBatches(50, 8, 1, 1)) == base || fmt.Sprint(shuffledBatches(50, 8, 2, 0)) == base {
		t.Error("another seed or epoch, the same order")
	}
}
