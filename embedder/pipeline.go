package embedder

import (
	"context"
	"fmt"
	"time"

	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/video"
)

// pipeline takes one event to its embedding. Both lanes use it; one goroutine
// a video, straight down, and the batcher is the only place where videos meet.
type pipeline struct {
	fingerprint string
	frameDim    int
	resolver    *resolver
	collator    *video.Collator
	batcher     *batcher
	metrics     *metrics
}

// embedded is an embedding and where its time went.
type embedded struct {
	*event.Embedding
	timings *event.Timings
}

// embed returns the embedding of an UPSERT event; its sequence is the caller's
// to fill. Everything that can be wrong with a video is found here, alone,
// before it shares a batch. Errors: Invalid, NotFound, Corrupt, Unavailable,
// Internal.
func (p *pipeline) embed(ctx context.Context, l lane, e *event.VideoEvent) (embedded, error) {
	start := time.Now()
	input, err := p.collate(ctx, e)
	if err != nil {
		return embedded{}, err
	}
	took := time.Since(start)
	r, err := p.batcher.embed(ctx, l, input)
	if err != nil {
		return embedded{}, err
	}
	embedding, err := eval.Combine(r.late, r.early)
	if err != nil {
		return embedded{}, fmt.Errorf("combine the halves: %w", err)
	}
	timings := &event.Timings{
		PrepareSeconds: float32(took.Seconds()), QueueSeconds: float32(r.wait.Seconds()), ForwardSeconds: float32(r.forward.Seconds()),
	}
	return embedded{timings: timings, Embedding: &event.Embedding{
		Id: e.GetId(), Fingerprint: p.fingerprint,
		Embedding: embedding, Late: r.late, Early: r.early,
		Title: e.GetTitle(), CategoryId: e.GetCategoryId(), TagIds: e.GetTagIds(),
		PublishedAt: e.GetPublishedAt(), ThumbnailUrl: e.GetThumbnailUrl(),
		Input: report(input.Reports[0]),
	}}, nil
}

// collate checks the event, fetches frames that it only names, and makes the
// model's input of it: a batch of one row. It takes the frames out of the event, which
// may be many times what the model reads, so that they do not wait for it in memory.
func (p *pipeline) collate(ctx context.Context, e *event.VideoEvent) (*video.Batch, error) {
	if err := event.Validate(e, p.frameDim); err != nil {
		return nil, err
	}
	if frames := e.GetFrames(); frames.GetRef() != "" {
		data, err := p.resolver.fetch(ctx, frames)
		if err != nil {
			return nil, err
		}
		frames.Data = data
	}
	v, err := event.ToVideo(e)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	input, err := p.collator.Collate([]video.Video{v})
	p.metrics.collateSeconds.Observe(time.Since(start).Seconds())
	if f := e.GetFrames(); f != nil {
		f.Data = nil
	}
	return input, err
}

// report copies what the models saw into the wire's form.
func report(r video.Report) *event.InputReport {
	return &event.InputReport{
		Title: r.Title, Speech: r.Speech, Frames: r.Frames,
		TokensCut: int32(r.TokensCut), TitleTokensCut: int32(r.TitleTokensCut), FramesCut: int32(r.FramesCut),
	}
}
