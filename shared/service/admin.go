package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// AdminConfig says where the admin port is. It answers operators and probes
// without asking who they are, so it belongs on a private address.
type AdminConfig struct {
	Listen string `help:"Address of the admin port: /livez, /readyz, /metrics, /debug/pprof. Empty: none." default:"${admin_listen}"`
}

// adminDefault gives each program its own port, so that all of them run on
// one machine without any setting.
func adminDefault(program string) string {
	switch program {
	case "embedder":
		return "127.0.0.1:9091"
	case "indexer":
		return "127.0.0.1:9092"
	case "gateway":
		return "127.0.0.1:9093"
	case "trainer":
		return "" // comes and goes; nobody scrapes it unless asked to
	}
	return "127.0.0.1:9090"
}

// Admin is the process's admin port. It opens when the first service
// registers with Ready: a command that serves nothing opens none.
type Admin struct {
	checks  checks
	once    sync.Once
	opened  chan struct{}
	metrics prometheus.Gatherer
	ending  func() bool // whether the process is shutting down

	mu   sync.Mutex
	addr net.Addr
}

func newAdmin(metrics prometheus.Gatherer) *Admin {
	return &Admin{opened: make(chan struct{}), metrics: metrics, ending: func() bool { return false }}
}

// Ready sets the condition that /readyz shows under name: ready while check
// returns nil, else not ready for the reason it returns. Checks run at most
// once a second, each with 2 s; they look, and never queue work.
func (a *Admin) Ready(name string, check func(ctx context.Context) error) {
	a.checks.set(name, check)
	a.once.Do(func() { close(a.opened) })
}

// Starting shows name as not ready until Ready is called for it. A service says
// so before its first step that takes time: without it, the checks of what it has
// connected to would make the process look ready before it serves.
func (a *Admin) Starting(name string) {
	a.Ready(name, func(context.Context) error { return errStarting })
}

var errStarting = errors.New("starting")

// Addr is where the admin port listens, nil while it does not.
func (a *Admin) Addr() net.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addr
}

// Handler serves the admin port's pages.
func (a *Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", a.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func (a *Admin) serveReady(w http.ResponseWriter, _ *http.Request) {
	var report readiness
	if a.ending() {
		report.Checks = []checkResult{{Name: "process", Reason: "stopping"}}
	} else {
		report = a.checks.report()
	}
	w.Header().Set("Content-Type", "application/json")
	if !report.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The client may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(report)
}

// start waits in the background until a service registers, then listens. A
// port that cannot be had ends the process through fail. The function it
// returns closes the port and waits for requests in hand.
func (a *Admin) start(ctx context.Context, c AdminConfig, log *slog.Logger, fail context.CancelCauseFunc) (stop func()) {
	a.ending = func() bool { return ctx.Err() != nil }
	if c.Listen == "" {
		return func() {}
	}
	stopping, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-a.opened:
			a.serve(c.Listen, log, fail, stopping)
		case <-stopping:
		}
	}()
	return func() { close(stopping); <-finished }
}

// serve listens until stopping is closed.
func (a *Admin) serve(address string, log *slog.Logger, fail context.CancelCauseFunc, stopping <-chan struct{}) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fail(fmt.Errorf("open the admin port (set --admin-listen, empty for none): %w", err))
		return
	}
	a.mu.Lock()
	a.addr = listener.Addr()
	a.mu.Unlock()
	log.Info("admin port open", "address", listener.Addr().String())
	server := newAdminServer(a.Handler(), log)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		fail(fmt.Errorf("admin port: %w", err))
		return
	case <-stopping:
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = server.Close() // a profile is still being taken; it can be repeated
	}
}

func newAdminServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a CPU profile takes 30 s by default
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
