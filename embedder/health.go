package embedder

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"videosim/shared/errs"
	"videosim/shared/model"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// canaryTimeout is how long the canary may take. It waits behind at most one
// running batch: some seconds for the full-size models on two cores.
const canaryTimeout = time.Minute

// errDeviceGone is why the process ends: CUDA fails every call from here on. What
// was not embedded goes back to the stream, and a new process takes the GPU afresh.
var errDeviceGone = errs.New(errs.Unavailable, "the GPU is lost to this process; start it again")

// health knows whether the device works: any batch that succeeds says so, and
// in quiet times a canary, one row known to work, is sent straight to the
// model, past every queue. It feeds readiness; only a failure after which no call
// can succeed ends the process.
type health struct {
	model  Model
	canary *video.Batch

	mu      sync.Mutex
	serving bool // warmed up, and both lanes are open
	end     func(error)
	since   time.Time // of the last success
	err     error     // of the last canary, nil after any success
}

// open says that videos are taken from now on, and what ends the process.
func (h *health) open(end func(error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serving, h.end = true, end
}

func (h *health) succeeded() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since, h.err = time.Now(), nil
}

// probe sends the canary now and returns why the device failed it, if it did.
func (h *health) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, canaryTimeout)
	defer cancel()
	halves, err := h.model.Embed(ctx, h.canary, model.Meanwhile{})
	if err == nil {
		err = finite(halves)
	}
	if err == nil {
		h.succeeded()
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	var failure *torch.Error
	if h.end != nil && errors.As(err, &failure) && failure.DeviceFailed() {
		h.end(fmt.Errorf("%w: %w", errDeviceGone, err))
	}
	return err
}

// run sends a canary whenever nothing has succeeded for an interval.
func (h *health) run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if h.quiet(interval) {
			_ = h.probe(ctx) // kept in h.err, which readiness shows
		}
	}
}

func (h *health) quiet(interval time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.since) >= interval
}

// check is the readiness check: it reads what is known and never waits.
func (h *health) check(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.err != nil:
		return errs.New(errs.Unavailable, "the device failed its last check: %w", h.err)
	case !h.serving:
		return errs.New(errs.Unavailable, "warming up")
	}
	return nil
}

// finite reports the first number of the halves that is none.
func finite(h model.Halves) error {
	for _, rows := range [][][]float32{h.Late, h.Early} {
		for i, row := range rows {
			for j, x := range row {
				if x-x != 0 { // true for NaN and both infinities only
					return fmt.Errorf("the canary's row %d has %v at place %d", i, x, j)
				}
			}
		}
	}
	return nil
}
