package indexer

import (
	"context"
	"fmt"
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

// watchInterval is how often the consumer's backlog is read.
const watchInterval = 250 * time.Millisecond

// Run indexes until ctx ends and returns nil, or an error where it cannot
// start or NATS has given it up. What it has not acknowledged by then is
// delivered again to the next indexer.
func Run(ctx context.Context, cfg Config, env Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.Index.Kind == "exact" && env.Index == nil {
		return errs.Field("index-kind", "expected milvus: the exact index lives in the process that queries it, "+
			"so only the all-in-one program (videosim up) has it")
	}
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
	}
	if env.Bus == nil {
		if env.Bus, err = bus.Connect(ctx, cfg.NATS); err != nil {
			return err
		}
		defer env.Bus.Close()
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
		timeout: cfg.WriteTimeout, state: new(state), log: env.Log, metrics: newMetrics(env.Metrics),
	}
	exact := cfg.Index.Kind == "exact"
	consumer, err := env.Bus.Consume(ctx, bus.ConsumerConfig{
		Stream: event.StreamEmbeddings, Durable: "indexer-" + fingerprint,
		Filter:  event.EmbeddingSubject(fingerprint, ">"),
		AckWait: cfg.AckWait, MaxAckPending: cfg.MaxPending, MaxDeliver: cfg.MaxDeliver,
		Pinned: !exact, // Milvus is shared: one writer, the others stand by
		Fresh:  exact,  // an index in memory begins empty: replay
	})
	if err != nil {
		return err
	}
	defer consumer.Stop()
	if err := w.begin(ctx, consumer); err != nil {
		return err
	}
	env.Admin.Ready("indexer", w.state.writable)
	if exact {
		env.Admin.Ready("indexer replay", w.state.replayed)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go w.watch(ctx, consumer)
	return w.run(ctx, consumer, cfg.BatchEmbeddings)
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
		if len(messages) > 0 {
			if err := w.apply(ctx, messages); err != nil && ctx.Err() == nil {
				return err
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("pull from %s: %w", event.StreamEmbeddings, err)
		}
	}
}
