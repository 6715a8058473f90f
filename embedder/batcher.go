package embedder

import (
	"context"
	"errors"
	"fmt"
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
	// Embed computes no padding: rows of any lengths may share a batch. It may call
	// the functions of while, on a goroutine of its own, before it returns.
	Embed(ctx context.Context, b *video.Batch, while model.Meanwhile) (model.Halves, error)
}

// batcher feeds the model.
//
// A batch forms by pull: whenever the model is free, it takes what waits, up
// to the limits. There is no timer, because waiting for company only pays when
// the model is busy, and then the company gathers by itself.
type batcher struct {
	model   Model
	queue   *queue
	health  *health
	metrics *metrics
	pace    pace
	ahead   joined
	aside   time.Duration // that batches of the stream have stood aside, in all
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
	b.begin(batch, l)
	var while model.Meanwhile // of a request nothing: somebody waits for the answer
	if l == bulk {
		while = model.Meanwhile{Next: b.stage, Between: b.between}
	}
	b.forward(ctx, batch, while)
}

// begin ends the wait of a batch.
func (b *batcher) begin(batch []*item, l lane) {
	now := time.Now()
	for _, it := range batch {
		it.wait = now.Sub(it.queued)
		b.metrics.queueSeconds.WithLabelValues(l.String()).Observe(it.wait.Seconds())
	}
	b.metrics.batchVideos.Observe(float64(len(batch)))
}

// forward embeds a batch and answers every item in it. When the model refuses
// the batch (memory, or one row that it cannot stand), each half is tried
// alone, and so on down to the single row at fault: its neighbours succeed.
func (b *batcher) forward(ctx context.Context, batch []*item, while model.Meanwhile) {
	halves, took, err := b.call(batch, func(input *video.Batch) (model.Halves, error) { return b.model.Embed(ctx, input, while) })
	b.learn(batch, took, err)
	switch {
	case err == nil:
		answer(batch, halves, took)
	case errs.KindOf(err) == errs.Unavailable:
		fail(batch, err) // the engine is closing or ctx ended: smaller batches end the same way
	case len(batch) > 1:
		b.metrics.splits.Inc()
		for _, half := range [][]*item{batch[:len(batch)/2], batch[len(batch)/2:]} {
			if while.Between != nil {
				b.queue.half()
			}
			b.forward(ctx, half, while)
		}
	default:
		fail(batch, b.blame(ctx, err))
	}
}

// learn bounds the batches to come by how this one went.
func (b *batcher) learn(batch []*item, took time.Duration, err error) {
	switch {
	case err == nil:
		b.pace.ran(cost(batch), took)
	case outOfMemory(err):
		b.pace.refused(cost(batch))
	default:
		return
	}
	b.queue.setBound(b.pace.positions(b.queue.limits.positions))
}

func outOfMemory(err error) bool {
	var failure *torch.Error
	return errors.As(err, &failure) && failure.OutOfMemory()
}

// call runs the model once and checks the shape of what it returns. took is the
// batch's own time, without that in which it stood aside for others.
func (b *batcher) call(batch []*item, embed func(*video.Batch) (model.Halves, error)) (halves model.Halves, took time.Duration, err error) {
	input := b.input(batch)
	start, aside := time.Now(), b.aside
	halves, err = embed(input)
	took = time.Since(start) - (b.aside - aside)
	b.metrics.forwardSeconds.Observe(took.Seconds())
	if err != nil {
		return halves, took, fmt.Errorf("embed %d videos: %w", len(batch), err)
	}
	if len(halves.Late) != len(batch) || len(halves.Early) != len(batch) {
		return halves, took, fmt.Errorf("embed %d videos: the model returned %d late and %d early halves",
			len(batch), len(halves.Late), len(halves.Early))
	}
	b.health.succeeded()
	for _, it := range batch {
		b.metrics.tokens.Add(float64(it.input.Late.Len + it.input.Early.Len))
	}
	return halves, took, nil
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
