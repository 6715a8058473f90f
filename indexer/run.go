package indexer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/vecdb"
)

// Env is what an indexer gets from its process.
type Env struct {
	*service.Env
	Bus   *bus.Bus    // shared with the other services of the process; nil: connect as Config.NATS says
	Index vecdb.Index // shared with the gateway of the process; nil: open as Config.Index says
}

// readiness is the name of the indexer's own condition.
const readiness = "indexer"

// watchInterval is how often the consumer's backlog is read.
const watchInterval = 250 * time.Millisecond

// Run indexes until ctx ends and returns nil, or an error where it cannot
// start or NATS has given it up. What it has not acknowledged by then is
// delivered again to the next indexer.
func Run(ctx context.Context, cfg Config, env Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.Index.Kind == vecdb.KindExact && env.Index == nil {
		return errs.Field("index", "expected milvus: the exact index lives in the process that queries it, "+
			"so only the all-in-one program (videosim up) has it")
	}
	env.Admin.Starting(readiness)
	fingerprint, dim, err := identity(cfg)
	if err != nil {
		return err
	}
	// The index before the stream: nothing may be pulled that cannot be written.
	if env.Index == nil {
		if env.Index, err = vecdb.OpenMilvus(ctx, cfg.Index.Milvus, fingerprint, dim); err != nil {
			return err
		}
		defer env.Index.Close()
		if r, ok := env.Index.(vecdb.Readier); ok {
			env.Admin.Ready("index", r.Ready)
		}
	}
	if env.Bus == nil {
		if env.Bus, err = bus.Connect(ctx, cfg.NATS, bus.WithLog(env.Log), bus.WithMetrics(env.Metrics)); err != nil {
			return err
		}
		defer env.Bus.Close()
		env.Admin.Ready("nats", env.Bus.Ready)
	}
	if err := env.Bus.EnsureStreams(ctx); err != nil {
		return err
	}
	return serve(ctx, cfg, env, fingerprint, dim)
}

// serve pulls and writes until ctx ends.
func serve(ctx context.Context, cfg Config, env Env, fingerprint string, dim int) error {
	known, err := newKnown(env.Index, cfg.KnownSequences)
	if err != nil {
		return err
	}
	w := &writer{
		index: env.Index, fingerprint: fingerprint, dim: dim, known: known,
		timeout: cfg.WriteTimeout, state: new(state),
		log: env.Log, metrics: newMetrics(env.Metrics), tracer: env.Tracer.Tracer("videosim/indexer"),
	}
	exact := cfg.Index.Kind == vecdb.KindExact
	empty, err := waitIndex(ctx, env.Index)
	if err != nil || ctx.Err() != nil {
		return err
	}
	consumer, err := env.Bus.Consume(ctx, bus.ConsumerConfig{
		Stream: event.StreamEmbeddings, Durable: "indexer-" + fingerprint,
		Filter:  event.EmbeddingFilter(fingerprint),
		AckWait: cfg.AckWait, MaxAckPending: cfg.MaxPending, MaxDeliver: cfg.MaxDeliver,
		Pinned: !exact, // Milvus is shared: one writer, the others stand by
		// What an empty index was given before is gone: an index in memory at
		// every start, one whose server has lost its data. Replay.
		Fresh: exact, Refill: empty,
	})
	if err != nil {
		return err
	}
	defer consumer.Stop()
	w.alive, w.notice = consumer.Alive, &notice{bus: env.Bus, name: RebuildingNote(fingerprint)}
	behind, err := consumer.Info(ctx)
	if err != nil {
		return err
	}
	stream, err := env.Bus.StreamState(ctx, event.StreamEmbeddings)
	if err != nil {
		return err
	}
	w.state.begins(stream.Last, behind.Pending+uint64(behind.AckPending))
	if exact {
		env.Admin.Ready("indexer replay", w.state.replayed) // first, or a probe could come between
	}
	env.Admin.Ready(readiness, w.state.writable)
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	watching.Go(func() { w.watch(ctx, consumer) })
	return w.run(ctx, consumer, cfg.BatchEmbeddings)
}

// waitIndex waits until the index answers, and says whether it is empty.
// Nothing is pulled before, because every delivery counts as an attempt: an
// outage must not use them up, however often the indexer is started in it.
// The end of ctx is no error.
func waitIndex(ctx context.Context, index vecdb.Index) (empty bool, err error) {
	for {
		n, err := index.Count(ctx)
		if err == nil {
			return n == 0, nil
		}
		if kind := errs.KindOf(err); kind != errs.Unavailable && kind != errs.Overloaded {
			return false, fmt.Errorf("count what is indexed: %w", err)
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(watchInterval):
		}
	}
}

// identity is the model whose embeddings are indexed.
func identity(cfg Config) (fingerprint string, dim int, err error) {
	if cfg.Bundle == "" {
		return cfg.Fingerprint, cfg.Dim, nil
	}
	m, err := bundle.ReadManifest(cfg.Bundle)
	if err != nil {
		return "", 0, err
	}
	return m.Fingerprint, m.EmbeddingDim, nil
}

// run applies what the stream has buffered, batch by batch.
func (w *writer) run(ctx context.Context, consumer *bus.Consumer, batch int) error {
	for {
		messages, err := consumer.Next(ctx, batch)
		w.apply(ctx, messages)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("pull from %s: %w", event.StreamEmbeddings, err)
		}
	}
}

// watch reads the consumer's backlog for readiness and metrics.
func (w *writer) watch(ctx context.Context, consumer *bus.Consumer) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		info, err := consumer.Info(ctx)
		if err != nil {
			continue // the connection's own readiness check says so
		}
		w.state.waits(info.AckFloor, info.Pending+uint64(info.AckPending))
		w.metrics.pending.Set(float64(info.Pending))
		w.metrics.unacknowledged.Set(float64(info.AckPending))
	}
}
