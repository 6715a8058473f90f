package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"

	"videosim/shared/errs"
)

// Bus is one connection to NATS. Safe for concurrent use.
type Bus struct {
	Conn *nats.Conn
	JS   jetstream.JetStream

	id      string // of this bus, for as long as the process lives
	cfg     Config
	log     *slog.Logger
	server  *Server // the embedded one, where we run inside its process
	metrics *metrics

	mu      sync.Mutex
	streams map[string]jetstream.Stream // handles, opened once
	catcher *catcher                    // turns the server's notes about dying workers into dead letters
	closed  context.Context             // ends with Close
	close   context.CancelFunc

	connection  context.Context // ends when another takes its place
	reconnected context.CancelFunc
}

// Option changes how Connect connects.
type Option func(*settings)

type settings struct {
	log    *slog.Logger
	server *Server
	reg    prometheus.Registerer
}

// WithLog says where connects, disconnects and slow consumers are logged.
func WithLog(log *slog.Logger) Option { return func(s *settings) { s.log = log } }

// WithServer connects to an embedded server without a socket; Config's
// address and credentials are not used.
func WithServer(server *Server) Option { return func(s *settings) { s.server = server } }

// WithMetrics registers the bus's metrics.
func WithMetrics(reg prometheus.Registerer) Option { return func(s *settings) { s.reg = reg } }

// Connect tries until NATS answers, refuses our credentials, or
// cfg.ConnectTimeout (default 30 s) or ctx ends. Once connected, a lost
// connection is retried for ever.
func Connect(ctx context.Context, cfg Config, opts ...Option) (*Bus, error) {
	set := settings{log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt(&set)
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	b := &Bus{
		id:      nuid.Next(),
		cfg:     cfg,
		log:     set.log.With("component", "bus"),
		server:  set.server,
		metrics: newMetrics(set.reg),
		streams: map[string]jetstream.Stream{},
	}
	b.connection, b.reconnected = context.WithCancel(context.Background())
	var err error
	if b.Conn, err = b.dial(ctx); err != nil {
		return nil, err
	}
	if b.JS, err = jetstream.New(b.Conn, jetstream.WithDefaultTimeout(requestTimeout)); err != nil {
		b.Conn.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	b.closed, b.close = context.WithCancel(context.Background())
	return b, nil
}

const (
	requestTimeout = 5 * time.Second // one question to the server, where ctx gives no deadline
	dialPause      = 250 * time.Millisecond
)

func (b *Bus) dial(ctx context.Context) (*nats.Conn, error) {
	address := b.cfg.URL
	opts, err := b.cfg.natsOptions()
	if err != nil {
		return nil, err
	}
	if b.server != nil {
		address = "nats://in-process"
		opts = []nats.Option{nats.Name(b.cfg.Name), nats.InProcessServer(b.server.ns), nats.Token(b.server.cfg.Token)}
	} else if address == "" {
		address = nats.DefaultURL
	}
	shown := withoutPasswords(address)
	opts = append(opts, b.watchers()...)
	opts = append(opts,
		nats.MaxReconnects(-1),
		nats.ReconnectWait(dialPause),
		nats.ReconnectJitter(dialPause, dialPause),
		nats.IgnoreAuthErrorAbort(), // credentials may be changed on both sides at different times
		nats.PingInterval(20*time.Second),
		nats.Timeout(requestTimeout),
	)
	timeout := b.cfg.ConnectTimeout
	if timeout == 0 {
		timeout = defaultConnectTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		nc, err := nats.Connect(address, opts...)
		switch {
		case err == nil:
			return nc, nil
		case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
			return nil, errs.New(errs.Unavailable, "connect to NATS at %s: %w: check the token, user, nkey or credentials", shown, err)
		}
		select {
		case <-ctx.Done():
			return nil, errs.New(errs.Unavailable, "connect to NATS at %s: %w (%w)", shown, err, ctx.Err())
		case <-time.After(dialPause):
		}
	}
}

// watchers log what happens to the connection.
func (b *Bus) watchers() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn("disconnected from NATS, trying again", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.log.Info("connected to NATS again", "server", nc.ConnectedUrlRedacted())
			b.mu.Lock()
			defer b.mu.Unlock()
			b.reconnected()
			b.connection, b.reconnected = context.WithCancel(context.Background())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			b.log.Warn("NATS reports", "error", err, "subject", subject)
		}),
	}
}

// onConnection returns ctx, ending also when the connection has broken and is
// back: what was asked before may never be answered.
func (b *Bus) onConnection(ctx context.Context) (context.Context, context.CancelFunc) {
	b.mu.Lock()
	connection := b.connection
	b.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(connection, cancel)
	return ctx, func() { stop(); cancel() }
}

// Close ends everything that runs on the connection, then the connection.
// What is unacknowledged will be delivered again.
func (b *Bus) Close() {
	b.close()
	b.mu.Lock()
	n := b.catcher
	b.catcher = nil
	b.mu.Unlock()
	if n != nil {
		n.stop()
	}
	// Flushed, so that acknowledgements on their way are not lost.
	_ = b.Conn.FlushTimeout(time.Second)
	b.Conn.Close()
}

// Ready says whether the connection stands now, for /readyz.
func (b *Bus) Ready(context.Context) error {
	if !b.Conn.IsConnected() {
		return errs.New(errs.Unavailable, "NATS: %s", b.Conn.Status())
	}
	return nil
}

// stream returns the handle of a stream.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.mu.Lock()
	s := b.streams[name]
	b.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := b.JS.Stream(ctx, name)
	if err != nil {
		return nil, kinded(err, "open stream %s", name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[name] = s
	return s, nil
}

// kinded wraps what NATS returned and gives it the Kind that decides what
// callers do: what does not exist is NotFound, refusals are Internal (ours is
// the request), everything else is a server that cannot answer now.
func kinded(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	kind := errs.Unavailable
	var api *jetstream.APIError
	var own *errs.Error
	switch {
	case errors.As(err, &own):
		kind = own.Kind
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		kind = errs.NotFound
	case errors.As(err, &api) && api.Code < 500:
		kind = errs.Internal
	}
	return errs.New(kind, "%s: %w", fmt.Sprintf(format, args...), err)
}
