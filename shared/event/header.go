package event

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
)

// NATS headers are case-sensitive; producers in other languages spell them as
// their libraries do. So they are read in any case.

// ContentTypeOf is the content type that a message states; "" where none.
func ContentTypeOf(h nats.Header) string { return carrier(h).Get(HeaderContentType) }

// InjectTrace writes the trace that ctx carries, if any, as W3C trace context.
func InjectTrace(ctx context.Context, h nats.Header) {
	propagation.TraceContext{}.Inject(ctx, carrier(h))
}

// ExtractTrace returns ctx with the trace that h carries, if any.
func ExtractTrace(ctx context.Context, h nats.Header) context.Context {
	return propagation.TraceContext{}.Extract(ctx, carrier(h))
}

type carrier nats.Header

func (c carrier) Get(key string) string {
	for name, values := range c {
		if strings.EqualFold(name, key) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func (c carrier) Set(key, value string) { nats.Header(c).Set(key, value) }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for name := range c {
		keys = append(keys, name)
	}
	return keys
}
