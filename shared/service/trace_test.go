package service

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
)

// TestTracesAreExported: a span that ended reaches the collector before the
// process does end, under the program's name.
func TestTracesAreExported(t *testing.T) {
	bodies := make(chan string, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- r.URL.Path + " " + string(body)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	env := NewTestEnv(t)
	provider, stop, err := newTracer("gateway", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL}, env.Log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := provider.Tracer("test").Start(t.Context(), "similar")
	header := propagation.MapCarrier{}
	env.Propagator.Inject(ctx, header)
	span.End()
	stop()
	if got := within(t, bodies, "export"); !strings.HasPrefix(got, "/v1/traces ") || !strings.Contains(got, "gateway") || !strings.Contains(got, "similar") {
		t.Errorf("exported %q", got)
	}
	if want := span.SpanContext().TraceID().String(); !strings.Contains(header["traceparent"], want) {
		t.Errorf("header %v, want trace %s", header, want)
	}
}

func TestNoTracesByDefault(t *testing.T) {
	provider, stop, err := newTracer("x", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=", "PATH=/bin"}, NewTestEnv(t).Log)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, span := provider.Tracer("test").Start(t.Context(), "x"); span.IsRecording() {
		t.Error("a span is recorded")
	}
}
