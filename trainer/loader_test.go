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
	batches := shuffled(103, 8, 7, 2)
	for _, from := range []int{0, 5} {
		var want []string
		for i := from; i < batches.Len(); i++ {
			want = append(want, fmt.Sprint(i, batches.Items(i)))
		}
		for _, workers := range []int{1, 3, 8} {
			l := loader[string]{workers: workers, ahead: 4, load: func(items []int) (string, error) {
				time.Sleep(time.Duration(items[0]%3) * time.Millisecond) // later batches may be ready first
				return fmt.Sprint(items), nil
			}}
			var got []string
			err := l.each(context.Background(), batches, from, func(i int, _ []int, batch string) error {
				got = append(got, fmt.Sprint(i, " ", batch))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d workers from %d: %v, want %v", workers, from, got, want)
			}
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
	err := l.each(context.Background(), inOrder(200, 2), 0, func(int, []int, int) error {
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
	err := l.each(context.Background(), inOrder(20, 2), 0, func(int, []int, int) error { used++; return nil })
	if !errors.Is(err, broken) || used != 3 {
		t.Fatalf("err = %v after %d batches, want the load's error after 3", err, used)
	}

	diverged := errors.New("diverged")
	err = l.each(context.Background(), inOrder(20, 2), 0, func(int, []int, int) error { return diverged })
	if !errors.Is(err, diverged) {
		t.Fatalf("err = %v, want the step's", err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err = l.each(ctx, inOrder(4, 2), 0, func(int, []int, int) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("err = %v, want canceled", err)
	}
}

// A slow step finds its batches ready; a slow loader shows in the share.
func TestLoaderCountsWaiting(t *testing.T) {
	share := func(load, use time.Duration) float64 {
		l := loader[int]{workers: 1, ahead: 2, load: func([]int) (int, error) { time.Sleep(load); return 0, nil }}
		if err := l.each(context.Background(), inOrder(60, 2), 0, func(int, []int, int) error { time.Sleep(use); return nil }); err != nil {
			t.Fatal(err)
		}
		return l.waitShare()
	}
	if got := share(time.Millisecond, 8*time.Millisecond); got > 0.3 {
		t.Errorf("a fast loader was waited for %.2f of the time", got)
	}
	if got := share(8*time.Millisecond, time.Millisecond); got < 0.6 {
		t.Errorf("a slow loader was waited for only %.2f of the time", got)
	}
}
