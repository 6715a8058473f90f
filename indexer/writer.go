package indexer

import (
	"context"
	"fmt"
	"log/slog"
	"time"

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
)

// writer brings embeddings into the index: one batch at a time, in the order
// of the stream, each acknowledged after the index shows it.
type writer struct {
	index       vecdb.Index
	fingerprint string
	dim         int
	known       *known
	timeout     time.Duration // of one call to the index
	state       *state
	log         *slog.Logger
	metrics     *metrics
}

// apply settles every message of a batch, unless ctx ends first: then the rest
// stays unsettled and is delivered again. While the index does not answer,
// apply keeps the batch and tries again: the next batch would fail as well, and
// order would be lost.
func (w *writer) apply(ctx context.Context, batch []*bus.Message) error {
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
		return err
	}
	fresh, stale := w.known.fresh(p.changes)
	fresh, err = w.write(ctx, fresh)
	if err != nil {
		return err
	}
	w.metrics.count(fresh, stale)
	w.ack(ctx, messages(stale))
	w.ack(ctx, messages(fresh))
	return nil
}

// write makes the changes visible in the index and returns those that it took.
// One that the index refuses becomes a dead letter; its neighbours go in.
func (w *writer) write(ctx context.Context, changes []*change) ([]*change, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	start := time.Now()
	err := w.persist(ctx, func(ctx context.Context) error { return w.put(ctx, changes) })
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && len(changes) == 1:
		w.refuse(ctx, changes[0].messages, err)
		return nil, nil
	case err != nil:
		return w.writeSingly(ctx, changes)
	}
	w.known.applied(changes)
	w.metrics.writeSeconds.Observe(time.Since(start).Seconds())
	w.metrics.batchEmbeddings.Observe(float64(len(changes)))
	return changes, nil
}

func (w *writer) writeSingly(ctx context.Context, changes []*change) ([]*change, error) {
	var taken []*change
	for _, c := range changes {
		one, err := w.write(ctx, []*change{c})
		if err != nil {
			return nil, err
		}
		taken = append(taken, one...)
	}
	return taken, nil
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

// persist calls f until it succeeds or fails for a reason that time does not
// heal: a kind that is never retried, or bulkTries failures of unknown kind.
func (w *writer) persist(ctx context.Context, f func(context.Context) error) error {
	unknown := 0
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
		if ctx.Err() != nil || !errs.PolicyOf(kind).Retry || unknown >= bulkTries {
			return err
		}
		w.state.indexFails(err)
		w.metrics.retries.Inc()
		w.log.Warn("the index does not take the batch; trying again", "pause", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
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
	for _, m := range failed {
		w.log.Warn("embedding not indexed", "subject", m.Subject, "sequence", m.Sequence, "delivery", m.Delivered, "error", reason)
		ctx, cancel := context.WithTimeout(ctx, settleTimeout)
		if err := m.Fail(ctx, reason); err != nil {
			w.log.Warn("embedding not settled", "subject", m.Subject, "sequence", m.Sequence, "error", err)
		}
		cancel()
	}
}

// ack settles messages whose effect is visible. One that fails is delivered
// again and found to be done.
func (w *writer) ack(ctx context.Context, done []*bus.Message) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for _, m := range done {
		if err := m.Ack(ctx); err != nil {
			w.log.Warn("embedding not acknowledged", "subject", m.Subject, "sequence", m.Sequence, "error", err)
		}
	}
}
