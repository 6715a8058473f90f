package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"videosim/gateway/meter"
	"videosim/gateway/query"
	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/vecdb"
)

// Env is what a gateway gets from its process.
type Env struct {
	*service.Env
	Bus   *bus.Bus    // shared with the other services of the process; nil: connect as Config.NATS says
	Index vecdb.Index // shared with the indexer of the process; nil: open as Config.Index says
	// Listening, where set, is told the address once calls are accepted.
	Listening func(net.Addr)
}

// server answers calls. Everything in it is safe for concurrent use.
type server struct {
	cfg       Config
	log       *slog.Logger
	tracer    trace.Tracer
	metrics   *metrics
	engine    *query.Engine
	progress  Progress
	catalogue *catalogue
	publisher *event.Publisher
	published *published
	atlas     *atlas
	meter     *meter.Meter
	doors     *doors
	limiter   *limiter
	origins   *http.CrossOriginProtection
	slots     chan struct{} // one a call at work
}

// Run serves until ctx ends and the calls in hand are answered, and returns
// nil; or an error where it cannot start.
func Run(ctx context.Context, cfg Config, env Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.Index.Kind == vecdb.KindExact && env.Index == nil {
		return errs.Field("index", "expected milvus: the exact index lives in the process that fills it, "+
			"so only the all-in-one program (videosim up) has it")
	}
	manifest, err := bundle.ReadManifest(cfg.Bundle)
	if err != nil {
		return err
	}
	if env.Index == nil {
		if env.Index, err = vecdb.OpenMilvus(ctx, cfg.Index.Milvus, manifest.Fingerprint, manifest.EmbeddingDim); err != nil {
			return err
		}
		defer env.Index.Close()
	}
	if env.Bus == nil {
		if env.Bus, err = bus.Connect(ctx, cfg.NATS, bus.WithLog(env.Log), bus.WithMetrics(env.Metrics)); err != nil {
			return err
		}
		defer env.Bus.Close()
	}
	if err := env.Bus.EnsureStreams(ctx); err != nil {
		return err
	}
	progress := bus.NewProgress(env.Bus, manifest.Fingerprint)
	g, err := newServer(cfg, env, manifest, progress)
	if err != nil {
		return err
	}
	g.watch(env)
	both, ctx := errgroup.WithContext(ctx) // without progress every answer would look old
	both.Go(func() error { return progress.Run(ctx) })
	both.Go(func() error { return g.serve(ctx, env.Listening) })
	if cfg.QualityInterval > 0 {
		both.Go(func() error { return g.meter.Run(ctx, cfg.QualityInterval) })
	}
	return both.Wait()
}

// newServer wires the parts of a server that needs no socket.
func newServer(cfg Config, env Env, manifest bundle.Manifest, progress Progress) (*server, error) {
	publisher, err := event.NewPublisher(env.Bus.Conn, event.PublisherConfig{Deadline: cfg.Timeout})
	if err != nil {
		return nil, err
	}
	doors, err := newDoors(cfg.Settings, env.Log)
	if err != nil {
		return nil, err
	}
	limiter, err := newLimiter(cfg)
	if err != nil {
		return nil, err
	}
	var vectors *query.Vectors
	if _, exact := env.Index.(*vecdb.Exact); !exact && cfg.VectorCache > 0 { // in memory a fetch is a look-up
		if vectors, err = query.NewVectors(cfg.VectorCache); err != nil {
			return nil, err
		}
	}
	g := &server{
		cfg: cfg, log: env.Log.With("service", "gateway"), tracer: env.Tracer.Tracer("videosim/gateway"),
		metrics: newMetrics(env.Metrics, progress.Sequence),
		engine: &query.Engine{
			Index: env.Index, Lane: env.Bus, Pages: query.NewPages(cfg.PageTokenKey), Vectors: vectors,
			Model: query.Model{
				Fingerprint: manifest.Fingerprint, Dim: manifest.EmbeddingDim,
				FrameDim: manifest.FrameDim, Calibration: manifest.Calibration,
			},
		},
		progress:  progress,
		catalogue: &catalogue{bus: env.Bus, index: env.Index, fingerprint: manifest.Fingerprint},
		publisher: publisher,
		published: newPublished(),
		atlas:     newAtlas(),
		doors:     doors,
		limiter:   limiter,
		origins:   http.NewCrossOriginProtection(),
		slots:     make(chan struct{}, cfg.MaxInFlight),
		meter:     meter.New(env.Bus, manifest.Fingerprint, env.Log, env.Metrics),
	}
	if cfg.QualityInterval > 0 {
		g.engine.Watch = g.meter.Watch
	}
	return g, nil
}

// watch tells the admin port what the gateway needs to be ready.
func (g *server) watch(env Env) {
	env.Admin.Ready("nats", env.Bus.Ready)
	env.Admin.Ready("index", func(ctx context.Context) error {
		if r, ok := env.Index.(vecdb.Readier); ok {
			return r.Ready(ctx)
		}
		_, err := env.Index.Count(ctx)
		return err
	})
}

// Limits of a connection that no call changes.
const (
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10 // room for a page token in a query string
)

// serve accepts calls until ctx ends, then lets those in hand finish.
func (g *server) serve(ctx context.Context, listening func(net.Addr)) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", g.cfg.Listen)
	if err != nil {
		return errs.New(errs.Unavailable, "listen on %s: %w", g.cfg.Listen, err)
	}
	secure, err := g.cfg.tls()
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	// Calls outlive ctx by StopTimeout, so they do not derive from it.
	calls, endCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer endCalls()
	srv := &http.Server{
		Handler:           g.routes(),
		ReadHeaderTimeout: g.cfg.HeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		TLSConfig:         secure,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug), // broken connections, mostly
		BaseContext:       func(net.Listener) context.Context { return calls },
	}
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	g.log.Info("listening", "address", ln.Addr().String(), "tls", secure != nil, "open", g.doors.open, "model", g.engine.Model.Fingerprint)
	if listening != nil {
		listening(ln.Addr())
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(calls, g.cfg.StopTimeout)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		g.log.Warn("calls were cut short", "error", err)
		return srv.Close()
	}
	return nil
}
