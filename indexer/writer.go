package indexer

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/vecdb"
)

const (
	settleTimeout = 10 * time.Second // one acknowledgement
	firstPause    = 100 * time.Millisecond
	longestPause  = 10 * time.Second
	// bulkTries is how often a bulk write that fails for an unknown reason is
	// repeated before the records are tried one by one.
	bulkTries = 3
	// patience is how long a batch is kept while the index does not answer.
	// Then its messages go back to the consumer, which repeats them for as long
	// as it takes; kept for longer, it would take them for lost (MaxHold).
	patience = 5 * time.Minute
)

// writer brings embeddings into the index: one batch at a time, in the order
// of the stream, each acknowledged after the index shows it.
type writer struct {
	index       vecdb.Index
	fingerprint string
	dim         int
	known       *known
	timeout     time.Duration // of one call to the index
	patience    time.Duration // for one batch
	state       *state
	log         *slog.Logger
	metrics     *metrics
	tracer      trace.Tracer
}

// apply settles every message of a batch. While the index does not answer, it
// keeps the batch and tries again, for as long as patience and ctx last: the
// next batch would fail as well, and order would be lost.
func (w *writer) apply(ctx context.Context, batch []*bus.Message) {
	if len(batch) == 0 {
		return
	}
	ctx, span := w.tracer.Start(ctx, "index embeddings", trace.WithLinks(links(ctx, batch)...))
	defer span.End()
	p := newPlan(len(batch))
	for _, m := range batch {
		e, err := decode(m, w.fingerprint, w.dim)
		if err != nil {
			w.refuse(ctx, []*bus.Message{m}, err)
			continue
		}
		p.add(m, e)
	}
	err := w.persist(ctx, func(ctx context.Context) error { return w.known.load(ctx, p.changes) })
	if err != nil {
		w.refuse(ctx, messages(p.changes), err)
		return
	}
	fresh, stale := w.known.fresh(p.changes)
	w.metrics.stale(stale)
	w.ack(ctx, messages(stale))
	w.write(ctx, fresh)
}

// links ties the batch's span to the traces of its messages.
func links(ctx context.Context, batch []*bus.Message) []trace.Link {
	var all []trace.Link
	for _, m := range batch {
		if from := trace.SpanContextFromContext(m.Context(ctx)); from.IsValid() {
			all = append(all, trace.Link{SpanContext: from})
		}
	}
	return all
}

// write makes the changes visible in the index, then acknowledges them. Where
// the index refuses the batch for good, each change is tried alone, and only
// the culprit becomes a dead letter.
func (w *writer) write(ctx context.Context, changes []*change) {
	if len(changes) == 0 {
		return
	}
	start := time.Now()
	err := w.persist(ctx, func(ctx context.Context) error { return w.put(ctx, changes) })
	retry := errs.KindOf(err) == errs.Unavailable || errs.KindOf(err) == errs.Overloaded
	switch {
	case err == nil:
		w.known.applied(changes)
		w.metrics.applied(changes, time.Since(start))
		w.ack(ctx, messages(changes))
	case retry || len(changes) == 1:
		w.refuse(ctx, messages(changes), err)
	default:
		for i := range changes {
			w.write(ctx, changes[i:i+1])
		}
	}
}

// put writes the changes and waits until every reader sees them. Repeating it
// after a failure is harmless, also where the index did the work and lost the
// answer.
func (w *writer) put(ctx context.Context, changes []*change) error {
	records, deleted := split(changes)
	if len(records) > 0 {
		if err := w.index.Upsert(ctx, records); err != nil {
			return fmt.Errorf("upsert %d embeddings: %w", len(records), err)
		}
	}
	if len(deleted) > 0 {
		if err := w.index.Delete(ctx, deleted); err != nil {
			return fmt.Errorf("delete %d embeddings: %w", len(deleted), err)
		}
	}
	if err := w.index.Barrier(ctx); err != nil {
		return fmt.Errorf("wait until %d changes are visible: %w", len(changes), err)
	}
	return nil
}

// persist calls f until it succeeds, or fails for a reason that time does not
// heal (a kind that is never retried, or bulkTries failures of unknown kind),
// or patience or ctx ends.
func (w *writer) persist(ctx context.Context, f func(context.Context) error) error {
	unknown, deadline := 0, time.Now().Add(w.patience)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := w.once(ctx, f)
		if err == nil {
			w.state.indexAnswers()
			return nil
		}
		kind := errs.KindOf(err)
		if kind == errs.Internal {
			unknown++
		}
		switch {
		case ctx.Err() != nil: // whatever the index made of that
			return errs.New(errs.Unavailable, "the indexer is stopping: %w", err)
		case !errs.PolicyOf(kind).Retry || unknown >= bulkTries || time.Now().After(deadline):
			return err
		}
		w.state.indexFails(err)
		w.metrics.retries.Inc()
		w.log.Warn("the index does not take the batch; trying again", "pause", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (w *writer) once(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	return f(ctx)
}

// refuse hands messages to the table of package errs: to the dead letters, or
// back to the stream.
func (w *writer) refuse(ctx context.Context, failed []*bus.Message, reason error) {
	w.metrics.embeddings.WithLabelValues(errs.KindOf(reason).String()).Add(float64(len(failed)))
	w.log.Warn("embeddings not indexed", "count", len(failed), "first", failed[0].Subject, "sequence", failed[0].Sequence, "error", reason)
	for _, m := range failed {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		if err := m.Fail(ctx, reason); err != nil {
			w.log.Warn("embedding not settled", "subject", m.Subject, "sequence", m.Sequence, "error", err)
		}
		cancel()
	}
}

// ack settles messages whose effect is visible. One that fails is delivered
// again and found to be done.
func (w *writer) ack(ctx context.Context, done []*bus.Message) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	for _, m := range done {
		if err := m.Ack(ctx); err != nil {
			w.log.Warn("embedding not acknowledged", "subject", m.Subject, "sequence", m.Sequence, "error", err)
		}
	}
}
