package service

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// flushTimeout bounds how long ending spans may take to leave at shutdown.
const flushTimeout = 5 * time.Second

func noTracer() trace.TracerProvider { return noop.NewTracerProvider() }

// newTracer exports over OTLP/HTTP where OpenTelemetry's own variables say
// where to (OTEL_EXPORTER_OTLP_ENDPOINT or …_TRACES_ENDPOINT), else traces
// nothing. Sampling, headers and timeouts follow OpenTelemetry's variables too.
func newTracer(name string, environ []string, log *slog.Logger) (provider trace.TracerProvider, stop func(), err error) {
	if !exportsTraces(environ) {
		return noTracer(), func() {}, nil
	}
	exporter, err := otlptracehttp.New(context.Background())
	if err != nil {
		return nil, nil, fmt.Errorf("set up traces: %w", err)
	}
	sdk := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(loggedExporter{exporter, log}),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", name))),
	)
	return sdk, func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		if err := sdk.Shutdown(ctx); err != nil {
			log.Warn("traces were lost at shutdown", "error", err.Error())
		}
	}, nil
}

func exportsTraces(environ []string) bool {
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if value != "" && (name == "OTEL_EXPORTER_OTLP_ENDPOINT" || name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
			return true
		}
	}
	return false
}

// loggedExporter reports failed exports in the process's log; OpenTelemetry
// would hand them to a global handler.
type loggedExporter struct {
	sdktrace.SpanExporter
	log *slog.Logger
}

func (e loggedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.log.Warn("traces were not exported", "spans", len(spans), "error", err.Error())
	}
	return nil
}
