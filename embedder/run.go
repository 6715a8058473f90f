package embedder

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"

	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// Env is what an embedder gets from its process.
type Env struct {
	*service.Env
	Bus *bus.Bus // shared with the other services of the process; nil: connect as Config.NATS says
}

// readiness is the name of the embedder's own condition.
const readiness = "embedder"

// Run embeds until ctx ends, then finishes the batch in hand, gives the rest
// back to the stream and returns nil. It returns an error where it cannot
// start, or where NATS has given it up.
func Run(ctx context.Context, cfg Config, env Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	env.Admin.Starting(readiness)
	// The bundle comes first: it is the cheapest thing that can be wrong.
	b, err := bundle.Open(cfg.Bundle)
	if err != nil {
		return err
	}
	collator, err := openCollator(b)
	if err != nil {
		return fmt.Errorf("load bundle %s: %w", cfg.Bundle, err)
	}
	// NATS before the weights: a wrong address shows in a second, not after
	// the minute that a large model takes to load.
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
	model, err := openModel(cfg, b)
	if err != nil {
		return err
	}
	defer model.close()
	if model.Device() == torch.CPU {
		limit, passes, err := limitMemory(cfg.Settings, collator.Config())
		if err != nil {
			return err
		}
		defer torch.LimitMemory(torch.NoLimit) // what the process does next knows its own needs
		env.Log.Info("memory limited", "process_mib", limit>>20, "forward_passes_mib", passes>>20)
	}
	env.Log.Info("model loaded", "fingerprint", b.Manifest.Fingerprint, "device", model.engine.Device().String(), "precision", model.engine.DType().String())
	return serve(ctx, cfg, env, b.Manifest.Fingerprint, model, collator)
}

// serve is Run from where the model is there: with any Model, for the tests.
func serve(ctx context.Context, cfg Config, env Env, fingerprint string, model Model, collator *video.Collator) error {
	shape := collator.Config()
	canary, err := collator.Collate([]video.Video{fullLength(shape)})
	if err != nil {
		return fmt.Errorf("make the canary: %w", err)
	}
	short, err := collator.Collate([]video.Video{{ID: "warm-up"}})
	if err != nil {
		return fmt.Errorf("make a video to warm up: %w", err)
	}
	bounds := limits{videos: cfg.BatchVideos, positions: cfg.BatchTokens}
	health := &health{model: model, canary: canary}
	env.Admin.Ready(readiness, health.check)
	if err := warmUp(ctx, health, bounds, short, env.Log); err != nil {
		return err
	}

	resolver, err := newResolver(cfg.Ref, env.Bus)
	if err != nil {
		return err
	}
	metrics, tracer := newMetrics(env.Metrics), env.Tracer.Tracer("videosim/embedder")
	queue := newQueue(bounds)
	watch(env.Metrics, queue)
	batcher := &batcher{model: model, queue: queue, health: health, metrics: metrics, pace: pace{target: cfg.BatchTarget}}
	pipeline := &pipeline{
		fingerprint: fingerprint, frameDim: shape.FrameDim,
		resolver: resolver, collator: collator, batcher: batcher, metrics: metrics,
	}
	consumer, err := env.Bus.Consume(ctx, bus.ConsumerConfig{
		Stream: event.StreamVideos, Durable: "embedder-" + fingerprint,
		AckWait: cfg.AckWait, MaxAckPending: cfg.BulkSlots, MaxDeliver: cfg.MaxDeliver,
	})
	if err != nil {
		return err
	}
	defer consumer.Stop()
	stream := &stream{
		bus: env.Bus, consumer: consumer, pipeline: pipeline, slots: make(chan struct{}, cfg.BulkSlots),
		storeTimeout: cfg.StoreTimeout, log: env.Log, metrics: metrics, tracer: tracer,
	}
	requests := &requests{
		pipeline: pipeline, slots: semaphore.NewWeighted(int64(cfg.InteractiveSlots)), limit: cfg.InteractiveSlots,
		metrics: metrics, tracer: tracer,
	}
	return operate(ctx, cfg, env.Bus, stream, requests)
}

// operate runs the parts until ctx ends, or the stream or the GPU fails. Then it stops
// them in the order in which work flows: nothing new; what waits of the stream
// goes back to it, while requests and the batch in hand are finished; then the
// model. Every step has a deadline of its own, so work itself has none.
func operate(ctx context.Context, cfg Config, b *bus.Bus, s *stream, r *requests) error {
	work := context.WithoutCancel(ctx)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := b.ServeEmbed(ctx, s.pipeline.fingerprint, r.handle); err != nil {
		return err
	}
	batcher := s.pipeline.batcher
	batcher.health.open(stop)
	var running sync.WaitGroup
	running.Go(func() { batcher.run(work) })
	running.Go(func() { batcher.health.run(ctx, cfg.CanaryInterval) })
	running.Go(func() {
		<-ctx.Done()
		batcher.queue.close(bulk)
		r.drain(work)
		batcher.queue.close(interactive)
	})
	err := s.run(ctx, work)
	stop(nil)
	running.Wait()
	if err == nil && errors.Is(context.Cause(ctx), errDeviceGone) {
		err = context.Cause(ctx)
	}
	return err
}
