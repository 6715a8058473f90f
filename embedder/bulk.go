package embedder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
)

// settleTimeout bounds an acknowledgement and a look-up in EMBEDDINGS.
const settleTimeout = 10 * time.Second

// stream is the bulk lane: events of VIDEOS become messages of EMBEDDINGS.
//
// A slot is taken before an event is pulled and given back when it is settled,
// so the model's speed limits the pull and nothing piles up in this process.
type stream struct {
	bus          *bus.Bus
	consumer     *bus.Consumer
	pipeline     *pipeline
	slots        chan struct{} // one token an event at work
	storeTimeout time.Duration
	log          *slog.Logger
	metrics      *metrics
	tracer       trace.Tracer
	returned     atomic.Int64 // events given back because the process stops
}

// run pulls until ctx ends, then returns when every event it has taken is
// settled. work outlives ctx: it is what the events at work are done under.
func (s *stream) run(ctx, work context.Context) error {
	var handlers sync.WaitGroup
	defer func() {
		handlers.Wait()
		if n := s.returned.Load(); n > 0 {
			s.log.Info("stopping: events at work were given back to the stream", "count", n)
		}
	}()
	for {
		n, ok := s.acquire(ctx)
		if !ok {
			return nil
		}
		messages, err := s.consumer.Next(ctx, n)
		s.release(n - len(messages))
		for _, m := range messages {
			handlers.Go(func() {
				defer s.release(1)
				s.settle(work, m)
			})
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("pull from %s: %w", event.StreamVideos, err)
		}
	}
}

// acquire waits for one slot and takes all that are free with it.
func (s *stream) acquire(ctx context.Context) (n int, ok bool) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, false
	}
	for n = 1; ; n++ {
		select {
		case s.slots <- struct{}{}:
		default:
			return n, true
		}
	}
}

func (s *stream) release(n int) {
	for range n {
		<-s.slots
	}
}

// settle handles one event and acknowledges it once its effect is stored.
// What fails goes where the table of package errs says.
func (s *stream) settle(ctx context.Context, m *bus.Message) {
	ctx, span := s.tracer.Start(m.Context(ctx), "embed video")
	defer span.End()
	outcome, err := s.handle(ctx, m)
	if err != nil {
		outcome = errs.KindOf(err).String()
		span.RecordError(err)
	}
	s.metrics.videos.WithLabelValues(bulk.String(), outcome).Inc()
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err == nil {
		err = m.Ack(ctx)
	} else {
		s.notEmbedded(ctx, m, err)
		err = m.Fail(ctx, err)
	}
	if err != nil { // it will be delivered again, and found to be done
		s.log.Warn("event not settled", "subject", m.Subject, "sequence", m.Sequence, "error", err)
	}
}

// notEmbedded logs a failure; what the end of the process stops is counted, and
// told of once, instead.
func (s *stream) notEmbedded(ctx context.Context, m *bus.Message, err error) {
	if errors.Is(err, errStopping) {
		s.returned.Add(1)
		return
	}
	s.log.WarnContext(ctx, "video not embedded", "subject", m.Subject, "sequence", m.Sequence, "delivery", m.Delivered, "error", err)
}

// handle brings the effect of one event into EMBEDDINGS and says what it was.
func (s *stream) handle(ctx context.Context, m *bus.Message) (outcome string, err error) {
	e, err := event.Decode(m.Data, m.Header.Get(event.HeaderContentType))
	if err != nil {
		return "", err
	}
	if err := event.CheckSubject(e, m.Subject); err != nil {
		return "", err
	}
	if done, err := s.done(ctx, e.GetId(), m.Sequence); err != nil || done {
		return "unchanged", err
	}
	outcome = "embedded"
	effect := &event.Embedding{Id: e.GetId(), Fingerprint: s.pipeline.fingerprint, Deleted: true}
	if e.GetOp() == event.VideoEvent_DELETE {
		outcome = "deleted"
	} else {
		done, err := s.pipeline.embed(ctx, bulk, e)
		if err != nil {
			return "", err
		}
		effect = done.Embedding
	}
	effect.Sequence = m.Sequence
	stored, err := s.store(ctx, effect)
	if err == nil && !stored {
		outcome = "unchanged" // a later event of this video was faster
	}
	return outcome, err
}

// done says whether EMBEDDINGS holds the effect of this event or of a later
// one of the same video: then a redelivery costs no forward pass.
func (s *stream) done(ctx context.Context, id string, sequence uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	last, err := s.bus.LastEmbedding(ctx, s.pipeline.fingerprint, id)
	switch {
	case err == nil:
		return last.GetSequence() >= sequence, nil
	case errs.KindOf(err) == errs.NotFound, errs.KindOf(err) == errs.Corrupt: // a corrupt one is replaced
		return false, nil
	}
	return false, fmt.Errorf("look up the embedding stored last: %w", err)
}

// store writes the effect, again and again while NATS does not answer: an
// embedding that was paid for is not thrown away for a short outage.
func (s *stream) store(ctx context.Context, e *event.Embedding) (stored bool, err error) {
	start := time.Now()
	defer func() { s.metrics.storeSeconds.Observe(time.Since(start).Seconds()) }()
	ctx, cancel := context.WithTimeout(ctx, s.storeTimeout)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		stored, err = s.bus.StoreEmbedding(ctx, e)
		if err == nil || errs.KindOf(err) != errs.Unavailable {
			return stored, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false, errors.Join(err, ctx.Err())
		}
	}
}
