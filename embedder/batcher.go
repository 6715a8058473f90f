package embedder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"videosim/shared/errs"
	"videosim/shared/model"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// Model turns a batch into the halves of its rows. It is called by one
// goroutine at a time, but for the canary's one row.
type Model interface {
	Device() torch.Device
	// Embed computes no padding: rows of any lengths may share a batch. While a GPU
	// computes, it may call next, once, and copy the batch there that next returns,
	// if any; that very batch comes later. next may be nil.
	Embed(ctx context.Context, b *video.Batch, next func() *video.Batch) (model.Halves, error)
}

// batcher feeds the model.
//
// A batch forms by pull: whenever the model is free, it takes what waits, up
// to the limits. There is no timer, because waiting for company only pays when
// the model is busy, and then the company gathers by itself.
//
// While a GPU computes a batch of the stream, the next one is joined and copied to
// it, if enough waits to fill it. That only saves time: it goes when its turn comes,
// after the requests that have come meanwhile; and if one of its videos leaves, or
// there is no memory for it, it is joined and copied anew, like any other.
type batcher struct {
	model   Model
	queue   *queue
	health  *health
	metrics *metrics
	pace    pace
	ahead   joined
}

// joined is a batch and the model's input that was made of it.
type joined struct {
	items []*item
	input *video.Batch
}

// embed hands one collated row to the model and waits for its halves. It
// returns early, and takes the row out of the queue, when ctx ends.
func (b *batcher) embed(ctx context.Context, l lane, input *video.Batch) (result, error) {
	it := &item{ctx: ctx, input: input, positions: positions(input), queued: time.Now(), result: make(chan result, 1)}
	if err := b.queue.push(l, it); err != nil {
		return result{}, err
	}
	select {
	case r := <-it.result:
		return r, r.err
	case <-ctx.Done():
		b.queue.remove(l, it)
		return result{}, errs.New(errs.Unavailable, "wait for the model: %w", ctx.Err())
	}
}

// positions is what a row costs: its tokens in both models and its frames.
func positions(b *video.Batch) int { return b.Late.Len + b.Early.Len + b.FrameLen }

// run serves until both lanes are closed. ctx bounds only the model's calls:
// it outlives the intake, so that the batch in hand is finished.
func (b *batcher) run(ctx context.Context) {
	for {
		batch, l := b.queue.take()
		if batch == nil {
			return
		}
		b.serve(ctx, alive(batch), l)
	}
}

// alive leaves out the items that nobody waits for any more.
func alive(batch []*item) []*item {
	kept := make([]*item, 0, len(batch))
	for _, it := range batch {
		if !over(it.ctx) {
			kept = append(kept, it)
		}
	}
	return kept
}

// over says whether ctx has ended. It reads the clock as well, because the
// timer of a deadline may be late on a busy machine.
func over(ctx context.Context) bool {
	deadline, bounded := ctx.Deadline()
	return ctx.Err() != nil || (bounded && !time.Now().Before(deadline))
}

func (b *batcher) serve(ctx context.Context, batch []*item, l lane) {
	if len(batch) == 0 {
		return
	}
	now := time.Now()
	for _, it := range batch {
		it.wait = now.Sub(it.queued)
		b.metrics.queueSeconds.WithLabelValues(l.String()).Observe(it.wait.Seconds())
	}
	b.metrics.batchVideos.Observe(float64(len(batch)))
	next := b.stage
	if l == interactive {
		next = nil // somebody waits for the answer, which would come after the copy
	}
	b.forward(ctx, batch, next)
}

// stage makes the stream's next batch ready to be copied to the device, nil where
// there is none. It runs during a call of the model, so not beside the batcher.
func (b *batcher) stage() *video.Batch {
	batch := alive(b.queue.stage())
	if len(batch) == 0 {
		return nil
	}
	b.ahead = joined{items: batch, input: b.merge(batch)}
	return b.ahead.input
}

// forward embeds a batch and answers every item in it. When the model refuses
// the batch (memory, or one row that it cannot stand), each half is tried
// alone, and so on down to the single row at fault: its neighbours succeed.
func (b *batcher) forward(ctx context.Context, batch []*item, next func() *video.Batch) {
	start := time.Now()
	halves, err := b.call(ctx, batch, next)
	took := time.Since(start)
	b.learn(batch, took, err)
	switch {
	case err == nil:
		answer(batch, halves, took)
	case errs.KindOf(err) == errs.Unavailable:
		fail(batch, err) // the engine is closing or ctx ended: smaller batches end the same way
	case len(batch) > 1:
		b.metrics.splits.Inc()
		b.forward(ctx, batch[:len(batch)/2], next)
		b.forward(ctx, batch[len(batch)/2:], next)
	default:
		fail(batch, b.blame(ctx, err))
	}
}

// learn bounds the batches to come by how this one went.
func (b *batcher) learn(batch []*item, took time.Duration, err error) {
	var failure *torch.Error
	switch {
	case err == nil:
		b.pace.ran(cost(batch), took)
	case errors.As(err, &failure) && failure.OutOfMemory():
		b.pace.refused(cost(batch))
	default:
		return
	}
	b.queue.setBound(b.pace.positions(b.queue.limits.positions))
}

// call runs the model once and checks the shape of what it returns.
func (b *batcher) call(ctx context.Context, batch []*item, next func() *video.Batch) (model.Halves, error) {
	input := b.input(batch)
	start := time.Now()
	halves, err := b.model.Embed(ctx, input, next)
	b.metrics.forwardSeconds.Observe(time.Since(start).Seconds())
	if err != nil {
		return halves, fmt.Errorf("embed %d videos: %w", len(batch), err)
	}
	if len(halves.Late) != len(batch) || len(halves.Early) != len(batch) {
		return halves, fmt.Errorf("embed %d videos: the model returned %d late and %d early halves",
			len(batch), len(halves.Late), len(halves.Early))
	}
	b.health.succeeded()
	for _, it := range batch {
		b.metrics.tokens.Add(float64(it.input.Late.Len + it.input.Early.Len))
	}
	return halves, nil
}

// blame decides whose fault the failure of a single row is. If the canary, a
// row that has worked before, fails too, it is the device: then the video is
// not to blame and must not become a dead letter.
func (b *batcher) blame(ctx context.Context, err error) error {
	if canary := b.health.probe(ctx); canary != nil {
		return errs.New(errs.Unavailable, "the device fails: %w", canary)
	}
	return err
}

func answer(batch []*item, halves model.Halves, forward time.Duration) {
	for i, it := range batch {
		it.result <- result{late: halves.Late[i], early: halves.Early[i], wait: it.wait, forward: forward}
	}
}

func fail(batch []*item, err error) {
	for _, it := range batch {
		it.result <- result{err: err}
	}
}

// input is what was made of exactly this batch ahead of its turn, or is made now.
func (b *batcher) input(batch []*item) *video.Batch {
	if slices.Equal(batch, b.ahead.items) {
		input := b.ahead.input
		b.ahead = joined{}
		return input
	}
	return b.merge(batch)
}

// merge joins the items' rows, in order, to one batch.
func (b *batcher) merge(batch []*item) *video.Batch {
	start := time.Now()
	rows := make([]*video.Batch, len(batch))
	for i, it := range batch {
		rows[i] = it.input
	}
	input := mergeRows(rows)
	b.metrics.mergeSeconds.Observe(time.Since(start).Seconds())
	return input
}
