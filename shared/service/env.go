package service

import (
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/term"
)

// Env is what a service gets from its process. Several services of one
// process share one Env.
type Env struct {
	Log     *slog.Logger
	Metrics *prometheus.Registry // its own, with Go and process metrics; /metrics shows it
	Admin   *Admin
	Tracer  trace.TracerProvider
	// Propagator carries traces in HTTP and NATS headers (W3C Trace Context).
	Propagator     propagation.TextMapPropagator
	Stdout, Stderr io.Writer
}

// LogConfig says what is logged, to standard error.
type LogConfig struct {
	Level  string `help:"Least severe level that is logged: debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`
	Format string `help:"Form of a log line: json, text, or auto (text on a terminal, json elsewhere)." enum:"auto,json,text" default:"auto"`
}

// NewEnv makes an Env whose admin port is not open yet. A nil tracer traces
// nothing.
func NewEnv(log LogConfig, tracer trace.TracerProvider, stdout, stderr io.Writer) *Env {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if tracer == nil {
		tracer = noTracer()
	}
	return &Env{
		Log:        newLogger(log, stderr),
		Metrics:    metrics,
		Admin:      newAdmin(metrics),
		Tracer:     tracer,
		Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		Stdout:     stdout,
		Stderr:     stderr,
	}
}

func newLogger(c LogConfig, w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // an empty LogConfig; kong checks the others
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "text" || (c.Format != "json" && isTerminal(w)) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
