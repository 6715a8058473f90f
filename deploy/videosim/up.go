package videosim

import (
	"context"
	"fmt"

	"videosim/embedder"
	"videosim/gateway"
	"videosim/indexer"
	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/service"
	"videosim/shared/vecdb"
	"videosim/shared/video"
)

// UpConfig is the suite in one process. NATS runs inside, with its streams on
// disk; the index is in memory unless Index says Milvus.
type UpConfig struct {
	Bundle string `help:"Folder of the bundle to serve; trainer train makes one." placeholder:"DIR" type:"path"`
	Data   string `help:"Publish the videos of this data folder (pointwise/*.tfrecords, pairwise/*.tfrecords) once the suite runs." placeholder:"DIR" type:"path"`
	SuiteConfig
}

// SuiteConfig is the configuration of the parts.
type SuiteConfig struct {
	Server   bus.ServerConfig  `embed:"" prefix:"nats-"`
	Index    vecdb.Config      `embed:""`
	Embedder embedder.Settings `embed:"" prefix:"embedder-"`
	Indexer  indexer.Settings  `embed:"" prefix:"indexer-"`
	Gateway  gateway.Settings  `embed:"" prefix:"gateway-"`
}

// Validate returns an Invalid error that names the first field at fault. The
// parts validate themselves.
func (c UpConfig) Validate() error {
	if c.Bundle == "" {
		return errs.Field("bundle", "expected the folder of a bundle, found none; trainer train makes one, or run videosim demo")
	}
	return nil
}

// Up runs the suite until ctx ends, and then stops it: first what is asked,
// then what works, then what stores.
func Up(ctx context.Context, cfg UpConfig, env *service.Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	manifest, err := bundle.ReadManifest(cfg.Bundle)
	if err != nil {
		return err
	}
	cfg.Server.Log = env.Log
	server, err := bus.StartServer(cfg.Server)
	if err != nil {
		return err
	}
	defer server.Shutdown()
	b, err := bus.Connect(ctx, bus.Config{Name: "videosim"}, bus.WithServer(server), bus.WithLog(env.Log), bus.WithMetrics(env.Metrics))
	if err != nil {
		return err
	}
	defer b.Close()
	// Streams before services: an event published from here on is kept, even
	// while the models load.
	if err := b.EnsureStreams(ctx); err != nil {
		return err
	}
	index, err := vecdb.Open(ctx, cfg.Index, manifest.Fingerprint, manifest.EmbeddingDim)
	if err != nil {
		return err
	}
	defer index.Close()
	env.Log.Info("nats listens", "url", server.ClientURL(), "store", cfg.Server.StoreDir)
	return operate(ctx, cfg.parts(env, b, index))
}

// parts are the services in the order in which videos pass through them, the
// gateway last: it is what the outside asks.
func (c UpConfig) parts(env *service.Env, b *bus.Bus, index vecdb.Index) []part {
	parts := []part{
		{"indexer", func(ctx context.Context) error {
			return indexer.Run(ctx, indexer.Config{Bundle: c.Bundle, Settings: c.Indexer, Index: c.Index}, indexer.Env{Env: env, Bus: b, Index: index})
		}},
		{"embedder", func(ctx context.Context) error {
			return embedder.Run(ctx, embedder.Config{Bundle: c.Bundle, Settings: c.Embedder}, embedder.Env{Env: env, Bus: b})
		}},
		{"gateway", func(ctx context.Context) error {
			return gateway.Run(ctx, gateway.Config{Bundle: c.Bundle, Settings: c.Gateway, Index: c.Index}, gateway.Env{Env: env, Bus: b, Index: index})
		}},
	}
	if c.Data != "" {
		parts = append(parts, part{"feed", func(ctx context.Context) error { return feedFolder(ctx, c.Data, b, env) }})
	}
	return parts
}

// feedFolder publishes a data folder and then waits for the end like a service.
func feedFolder(ctx context.Context, dir string, b *bus.Bus, env *service.Env) error {
	folder, err := video.OpenFolder(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	videos, last, err := feed(ctx, b, folder)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("publish %s: %w", dir, err)
	}
	env.Log.Info("data folder published", "folder", dir, "videos", videos, "last_sequence", last)
	<-ctx.Done()
	return nil
}
