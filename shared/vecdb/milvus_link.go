package vecdb

import (
	"context"
	"sync"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"

	"videosim/shared/errs"
)

const (
	// firstTry is how long opening waits for the first attempt: long enough
	// for a server that is there to refuse wrong settings, short enough for a
	// service to start without one.
	firstTry = 2 * time.Second
	// Pauses between attempts.
	shortestRetry = 250 * time.Millisecond
	longestRetry  = 5 * time.Second
)

// link is the one connection of an index to its server. It is made beside its
// owner, tried until it stands, and from then on kept by gRPC, which connects
// again by itself after a server was away.
type link struct {
	cfg   MilvusConfig
	ready func(context.Context, *client.GrpcClient) error // prepares what the owner needs
	stop  context.CancelFunc
	ended chan struct{} // closed when no more attempts are made

	mu      sync.Mutex
	conn    *client.GrpcClient // nil until an attempt has succeeded
	failure error              // of the last attempt
}

// openLink starts the attempts. The first one's Invalid or NotFound error, for
// which waiting is no remedy, is returned; any other is left to client.
func openLink(ctx context.Context, cfg MilvusConfig, ready func(context.Context, *client.GrpcClient) error) (*link, error) {
	if _, err := cfg.TLS.load(); err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &link{cfg: cfg, ready: ready, stop: stop, ended: make(chan struct{}),
		failure: errs.New(errs.Unavailable, "milvus at %s: still connecting", cfg.Address)}
	first := make(chan error, 1)
	go l.keep(life, first)
	select {
	case err := <-first:
		if kind := errs.KindOf(err); err != nil && (kind == errs.Invalid || kind == errs.NotFound) {
			_ = l.close() // the first error says more
			return nil, err
		}
	case <-time.After(firstTry):
	case <-ctx.Done():
	}
	return l, nil
}

// keep makes attempts until one succeeds or the link is closed, and tells the
// first one's result.
func (l *link) keep(ctx context.Context, first chan<- error) {
	defer close(l.ended)
	for pause := shortestRetry; ; pause = min(2*pause, longestRetry) {
		err := l.attempt(ctx)
		select {
		case first <- err:
		default: // told already
		}
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (l *link) attempt(ctx context.Context) error {
	c, err := dial(ctx, l.cfg)
	if err == nil {
		prepare, cancel := context.WithTimeout(ctx, l.cfg.ConnectTimeout)
		defer cancel()
		if err = l.ready(prepare, c); err != nil {
			_ = c.Close() // the first error says more
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure = err; err == nil {
		l.conn = c
	}
	return err
}

// client returns the connection, or Unavailable with the reason why there is none.
func (l *link) client() (*client.GrpcClient, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil, errs.New(errs.Unavailable, "%w", l.failure)
	}
	return l.conn, nil
}

func (l *link) close() error {
	l.stop()
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil
	}
	return l.conn.Close()
}
