package embedder

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// requests is the interactive lane: somebody waits. What cannot be taken on at
// once is refused at once, and what is late is dropped.
type requests struct {
	pipeline *pipeline
	slots    *semaphore.Weighted // one a video
	limit    int                 // number of slots
	metrics  *metrics
	tracer   trace.Tracer
}

// handle answers one request before ctx, the caller's deadline, ends. A whole request is admitted or refused; a video
// in it that cannot be embedded fails alone.
func (r *requests) handle(ctx context.Context, req *event.EmbedRequest) *event.EmbedReply {
	ctx, span := r.tracer.Start(ctx, "embed request")
	defer span.End()
	videos := req.GetVideos()
	if err := r.admit(len(videos)); err != nil {
		r.metrics.videos.WithLabelValues(interactive.String(), errs.KindOf(err).String()).Add(float64(len(videos)))
		kind, _, message := event.FaultOf(err)
		return &event.EmbedReply{Error: message, ErrorKind: kind}
	}
	defer r.slots.Release(int64(len(videos)))
	reply := &event.EmbedReply{Results: make([]*event.EmbedResult, len(videos))}
	var all sync.WaitGroup
	for i, e := range videos {
		all.Go(func() { reply.Results[i] = r.embed(ctx, e) })
	}
	all.Wait()
	return reply
}

// admit takes n slots or says why not.
func (r *requests) admit(n int) error {
	switch {
	case n == 0:
		return errs.Field("videos", "expected at least one, found none")
	case n > r.limit:
		return errs.Field("videos", "expected at most %d in one request, found %d", r.limit, n)
	case !r.slots.TryAcquire(int64(n)):
		return errs.New(errs.Overloaded, "the embedder has %d videos at work already; try again", r.limit)
	}
	return nil
}

// drain waits until no request is at work, but not for long, and admits no more.
func (r *requests) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	_ = r.slots.Acquire(ctx, int64(r.limit)) // those that last longer fail with the queue
}

func (r *requests) embed(ctx context.Context, e *event.VideoEvent) *event.EmbedResult {
	outcome := "embedded"
	result, err := r.embedOne(ctx, e)
	if err != nil {
		kind, field, message := event.FaultOf(err)
		outcome = kind
		result = &event.EmbedResult{Error: message, ErrorKind: kind, ErrorField: field}
	}
	r.metrics.videos.WithLabelValues(interactive.String(), outcome).Inc()
	return result
}

func (r *requests) embedOne(ctx context.Context, e *event.VideoEvent) (*event.EmbedResult, error) {
	if e.GetOp() == event.VideoEvent_DELETE {
		return nil, errs.Field("op", "expected UPSERT, found DELETE: there is nothing to embed")
	}
	if e.GetId() == "" {
		e.Id = "content" // a content that somebody asks about need not be a video of the catalogue
	}
	done, err := r.pipeline.embed(ctx, interactive, e)
	if err != nil {
		return nil, err
	}
	return &event.EmbedResult{
		Embedding: done.GetEmbedding(), Late: done.GetLate(), Early: done.GetEarly(), Input: done.GetInput(),
		Timings: done.timings,
	}, nil
}
