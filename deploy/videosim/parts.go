package videosim

import (
	"context"
	"errors"
	"fmt"
)

// part is one service of the process.
type part struct {
	name string
	run  func(context.Context) error // blocks until its context ends
}

// operate runs parts until ctx ends or one of them does. They are stopped in
// the reverse of their order, each only when the one before it is done, so
// that what is still at work finds below it what it needs.
func operate(ctx context.Context, parts []part) error {
	type result struct {
		i   int
		err error
	}
	results := make(chan result, len(parts))
	stops := make([]context.CancelFunc, len(parts))
	for i, p := range parts {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		stops[i] = stop
		go func() {
			err := p.run(own)
			if own.Err() != nil && errors.Is(err, context.Canceled) {
				err = nil // told to stop while it was still starting
			}
			results <- result{i, err}
		}()
	}
	ended := make([]bool, len(parts))
	var first error
	take := func(r result) {
		ended[r.i] = true
		if r.err != nil && first == nil {
			first = fmt.Errorf("%s: %w", parts[r.i].name, r.err)
		}
	}
	select {
	case <-ctx.Done():
	case r := <-results:
		if r.err == nil && ctx.Err() == nil {
			r.err = fmt.Errorf("ended by itself")
		}
		take(r)
	}
	for i := len(parts) - 1; i >= 0; i-- {
		stops[i]()
		for !ended[i] {
			take(<-results)
		}
	}
	return first
}
