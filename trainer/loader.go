package trainer

import (
	"context"
	"sync"
	"time"
)

// A loader makes the batches of one stage on goroutines of its own, so that
// the engine finds the next batch ready. Batches come in a fixed order however
// many goroutines there are: the plan says which items a batch holds before any
// of them runs. It keeps at most ahead batches, however many the plan has.
type loader[T any] struct {
	load    func(items []int) (T, error) // runs on several goroutines at once
	workers int
	ahead   int // batches that may be ready or in the making; at least 1

	// Of the last call of each, up to now: how long it lasted, and how long of
	// that its caller waited for a batch. Both are written between two calls of
	// use, on the goroutine that called each.
	elapsed, waited time.Duration
}

// loaded is one batch, or why it could not be made.
type loaded[T any] struct {
	items []int
	batch T
	err   error
}

// each calls use with the batches of p from number from on, in order, until use
// or a load fails or ctx ends. It returns after all its goroutines have.
func (l *loader[T]) each(ctx context.Context, p plan, from int, use func(i int, items []int, batch T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()

	// Batch i waits in slot i modulo the slots. The slot is free again when the
	// batch is: only then may batch i+ahead begin.
	slots := make([]chan loaded[T], max(l.ahead, 1))
	for i := range slots {
		slots[i] = make(chan loaded[T], 1)
	}
	slot := func(i int) chan loaded[T] { return slots[i%len(slots)] }
	admitted := make(chan struct{}, len(slots)) // one token a batch that is not used up
	next := make(chan int)
	group.Go(func() { feed(ctx, from, p.Len(), admitted, next) })
	for range max(l.workers, 1) {
		group.Go(func() {
			for i := range next {
				items := p.Items(i)
				batch, err := l.load(items)
				slot(i) <- loaded[T]{items, batch, err}
			}
		})
	}
	began := time.Now()
	l.elapsed, l.waited = 0, 0
	for i := from; i < p.Len(); i++ {
		asked := time.Now()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case got := <-slot(i):
			l.waited += time.Since(asked)
			l.elapsed = time.Since(began)
			if got.err != nil {
				return got.err
			}
			if err := use(i, got.items, got.batch); err != nil {
				return err
			}
			<-admitted
		}
	}
	l.elapsed = time.Since(began)
	return nil
}

// waitShare is the part of the last call of each, in 0…1, in which its caller
// had nothing to do because the next batch was not ready.
func (l *loader[T]) waitShare() float64 {
	if l.elapsed <= 0 {
		return 0
	}
	return l.waited.Seconds() / l.elapsed.Seconds()
}

// feed hands out batch numbers, no more ahead of the consumer than admitted has
// room for.
func feed(ctx context.Context, from, to int, admitted chan<- struct{}, next chan<- int) {
	defer close(next)
	for i := from; i < to; i++ {
		select {
		case <-ctx.Done():
			return
		case admitted <- struct{}{}:
		}
		select {
		case <-ctx.Done():
			return
		case next <- i:
		}
	}
}
