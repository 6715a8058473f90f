package embedder

import (
	"slices"
	"time"

	"videosim/shared/model"
	"videosim/shared/video"
)

// What the batcher does while the model computes a batch of the stream.
//
// With large models on a CPU that takes most of a second. It does not keep requests
// waiting: between its layers it stands aside for them.
//
// While a GPU computes a batch of the stream, the next one is joined and copied to
// it, if enough waits to fill it. That only saves time: it goes when its turn comes,
// after the requests that have come meanwhile; and if one of its videos leaves, or
// there is no memory for it, it is joined and copied anew, like any other.

// joined is a batch and the model's input that was made of it.
type joined struct {
	items []*item
	input *video.Batch
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

// input is what was made of exactly this batch ahead of its turn, or is made now.
func (b *batcher) input(batch []*item) *video.Batch {
	if slices.Equal(batch, b.ahead.items) {
		input := b.ahead.input
		b.ahead = joined{}
		return input
	}
	return b.merge(batch)
}

// between embeds requests that wait, between two layers of a batch of the stream. It
// runs during a call of the model, so not beside the batcher. A batch that fails goes
// back to the queue: in its turn it is halved, and the device is looked at.
func (b *batcher) between(done, total int, embed func(*video.Batch) (model.Halves, error)) {
	if done == total {
		return // the batch of the stream is at its end
	}
	batch := alive(b.queue.takeBetween(done, total))
	if len(batch) == 0 {
		return
	}
	start := time.Now()
	b.begin(batch, interactive)
	halves, took, err := b.call(batch, embed)
	if err == nil {
		answer(batch, halves, took)
	} else {
		b.queue.putBack(batch)
	}
	b.aside += time.Since(start)
}
