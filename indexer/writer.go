package indexer

import (
	"cmp"
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
	settleTimeout = 10 * time.Second // one dead letter, or message given back
	firstPause    = 100 * time.Millisecond
	longestPause  = 2 * time.Second // what an outage lasts longer here than at its source
	// sayEvery is how often the log says that the index is still away.
	sayEvery = 30 * time.Second
	// bulkTries is how often a bulk write that fails for an unknown reason is
	// repeated before the records are tried one by one.
	bulkTries = 3
)

// writer brings embeddings into the index: one batch at a time, in the order
// of the stream, each acknowledged after the index shows it.
type writer struct {
	index       vecdb.Index
	fingerprint string
	dim         int
	known       *known
	timeout     time.Duration // of one call to the index
	alive       func()        // tells the consumer that the batch is held on purpose
	notice      *notice       // of a rebuild
	state       *state
	log         *slog.Logger
	metrics     *metrics
	tracer      trace.Tracer
}

// apply settles every message of a batch. While the index does not answer, it
// keeps the batch and tries again, for as long as ctx lasts: the next batch
// would fail as well, and every delivery more would count as an attempt.
func (w *writer) apply(ctx context.Context, batch []*bus.Message) {
	if len(batch) == 0 {
		return
	}
	ctx, span := w.tracer.Start(ctx, "index embeddings", trace.WithLinks(links(ctx, batch)...))
	defer span.End()
	p := newPlan(len(batch))
	for i, d := range decodeAll(batch, w.fingerprint, w.dim) {
		if d.err != nil {
			w.refuse(ctx, []*bus.Message{batch[i]}, d.err)
			continue
		}
		p.add(batch[i], d.embedding)
	}
	w.known.during(w.notice.look(ctx))
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
// the culprits become dead letters.
func (w *writer) write(ctx context.Context, changes []*change) {
	if len(changes) == 0 {
		return
	}
	err := w.tryWrite(ctx, changes)
	switch {
	case err == nil:
	case waits(err):
		w.refuse(ctx, messages(changes), err)
	case len(changes) == 1:
		w.refuse(ctx, messages(changes), w.blame(ctx, err))
	default:
		w.writeEach(ctx, changes)
	}
}

// writeEach tries the changes one by one. An unknown failure is a change's own
// where another one got through; where none did, it is the index's.
func (w *writer) writeEach(ctx context.Context, changes []*change) {
	failed := make(map[*change]error)
	for _, c := range changes {
		if err := w.tryWrite(ctx, []*change{c}); err != nil {
			failed[c] = err
		}
	}
	for c, err := range failed {
		if errs.KindOf(err) == errs.Internal && len(failed) == len(changes) {
			err = errs.New(errs.Unavailable, "the index took none of %d embeddings: %w", len(changes), err)
		}
		w.refuse(ctx, c.messages, err)
	}
}

// blame decides whose fault an unknown failure of a single change is: the
// index's, where it does not answer reads either.
func (w *writer) blame(ctx context.Context, err error) error {
	r, ok := w.index.(vecdb.Readier)
	if !ok || errs.KindOf(err) != errs.Internal {
		return err
	}
	if notReady := w.once(ctx, r.Ready); notReady != nil {
		return errs.New(errs.Unavailable, "%w (%w)", err, notReady)
	}
	return err
}

// waits reports whether err is one that only time heals.
func waits(err error) bool {
	return errs.KindOf(err) == errs.Unavailable || errs.KindOf(err) == errs.Overloaded
}

// tryWrite makes the changes visible and acknowledges them.
func (w *writer) tryWrite(ctx context.Context, changes []*change) error {
	start := time.Now()
	if err := w.persist(ctx, func(ctx context.Context) error { return w.put(ctx, changes) }); err != nil {
		return err
	}
	w.known.applied(changes)
	w.metrics.applied(changes, time.Since(start))
	w.ack(ctx, messages(changes))
	return nil
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
// or ctx ends.
func (w *writer) persist(ctx context.Context, f func(context.Context) error) error {
	unknown, said := 0, time.Time{}
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
		case !errs.PolicyOf(kind).Retry || unknown >= bulkTries:
			return err
		}
		w.alive()
		w.state.indexFails(err)
		w.metrics.retries.Inc()
		if time.Since(said) > sayEvery {
			w.log.Warn("the index does not take the batch; trying until it does", "error", err)
			said = time.Now()
		}
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
	level := slog.LevelWarn
	if ctx.Err() != nil {
		level = slog.LevelInfo // given back at the end of the process, as it should be
	}
	w.log.Log(ctx, level, "embeddings not indexed", "count", len(failed), "first", failed[0].Subject, "sequence", failed[0].Sequence, "error", reason)
	w.settle(ctx, failed, func(ctx context.Context, m *bus.Message) error {
		ctx, cancel := context.WithTimeout(ctx, settleTimeout)
		defer cancel()
		return m.Fail(ctx, reason)
	})
}

// ack settles messages whose effect is visible. Nothing is waited for, so it
// needs no deadline: see bus.ConsumerConfig.ConfirmAcks.
func (w *writer) ack(ctx context.Context, done []*bus.Message) {
	w.settle(ctx, done, func(ctx context.Context, m *bus.Message) error { return m.Ack(ctx) })
}

// settle answers each message, the end of ctx notwithstanding. One whose answer
// fails is delivered again and found to be done; a line in the log says of all
// together that there were some.
func (w *writer) settle(ctx context.Context, all []*bus.Message, answer func(context.Context, *bus.Message) error) {
	var first error
	failed := 0
	ctx = context.WithoutCancel(ctx)
	for _, m := range all {
		if err := answer(ctx, m); err != nil {
			first = cmp.Or(first, fmt.Errorf("%s: %w", m.Subject, err))
			failed++
		}
	}
	if failed > 0 {
		w.log.Warn("embeddings not settled; they will come again", "count", failed, "of", len(all), "first", first)
	}
}
