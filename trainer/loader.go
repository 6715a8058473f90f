package trainer

import (
	"context"
	"math/rand/v2"
	"sync"
)

// A loader makes the batches of one stage on goroutines of its own, so that
// the engine finds the next batch ready. Batches come in a fixed order however
// many goroutines there are: which items a batch holds is decided before any
// of them runs.
type loader[T any] struct {
	load    func(items []int) (T, error) // runs on several goroutines at once
	workers int
	ahead   int // batches that may be ready or in the making
}

// loaded is one batch, or why it could not be made.
type loaded[T any] struct {
	items []int
	batch T
	err   error
}

// each calls use with every batch in order, until use or a load fails or ctx
// ends. It returns after all its goroutines have.
func (l *loader[T]) each(ctx context.Context, batches [][]int, use func(items []int, batch T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()

	slots := make([]chan loaded[T], len(batches))
	for i := range slots {
		slots[i] = make(chan loaded[T], 1)
	}
	admitted := make(chan struct{}, l.ahead) // one token a batch that is not used up
	next := make(chan int)
	group.Go(func() { l.feed(ctx, len(batches), admitted, next) })
	for range l.workers {
		group.Go(func() {
			for i := range next {
				batch, err := l.load(batches[i])
				slots[i] <- loaded[T]{batches[i], batch, err}
			}
		})
	}
	for i := range slots {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case got := <-slots[i]:
			if got.err != nil {
				return got.err
			}
			if err := use(got.items, got.batch); err != nil {
				return err
			}
			<-admitted
		}
	}
	return nil
}

// feed hands out batch numbers, at most l.ahead before the consumer.
func (l *loader[T]) feed(ctx context.Context, n int, admitted chan<- struct{}, next chan<- int) {
	defer close(next)
	for i := range n {
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

// shuffledBatches returns the item numbers 0..n-1 in an order that depends on
// the seed and the epoch alone, cut into batches of size. A single item left
// over joins the batch before it, because batch normalisation has no variance
// to divide by in a batch of one.
func shuffledBatches(n, size int, seed uint64, epoch int) [][]int {
	order := rand.New(rand.NewPCG(seed, orderStream+uint64(epoch))).Perm(n)
	return cut(order, size)
}

// orderStream keeps the data order's random numbers apart from the split's.
const orderStream = 0x5eed_1000

func cut(order []int, size int) [][]int {
	var batches [][]int
	for len(order) > 0 {
		k := min(size, len(order))
		if len(order)-k == 1 && k > 1 {
			k++
		}
		batches = append(batches, order[:k:k])
		order = order[k:]
	}
	return batches
}

// inOrder returns the item numbers 0..n-1 cut into batches of size.
func inOrder(n, size int) [][]int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return cut(order, size)
}
