package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/nats-io/nuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"videosim/gateway/query"
	"videosim/shared/errs"
)

// Keys of gin's context.
const (
	keyRequestID = "videosim.request"
	keyCaller    = "videosim.caller"
	keyProblem   = "videosim.problem"
	keyStart     = "videosim.start" // time.Time
)

func requestID(c *gin.Context) string { return c.GetString(keyRequestID) }

// identify gives the call an id: the caller's own, where it is a decent one.
func (g *server) identify(c *gin.Context) {
	id := c.GetHeader("X-Request-Id")
	if !decentID(id) {
		id = nuid.Next()
	}
	c.Set(keyRequestID, id)
	c.Header("X-Request-Id", id)
}

// decentID keeps what would confuse a log out of it.
func decentID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, r := range id {
		if r <= ' ' || r > '~' || r == '"' {
			return false
		}
	}
	return true
}

// observe logs and counts every call once it is over, opens its trace, and
// starts its clocks.
func (g *server) observe(c *gin.Context) {
	start := time.Now()
	c.Set(keyStart, start)
	route := c.FullPath()
	if route == "" {
		route = "none"
	}
	ctx := propagation.TraceContext{}.Extract(c.Request.Context(), propagation.HeaderCarrier(c.Request.Header))
	ctx, span := g.tracer.Start(ctx, c.Request.Method+" "+route, trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	ctx, _ = query.Timed(ctx)
	c.Request = c.Request.WithContext(ctx)
	g.metrics.inFlight.Inc()
	defer func() {
		g.metrics.inFlight.Dec()
		status, took := c.Writer.Status(), time.Since(start)
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		g.metrics.requests.WithLabelValues(route, knownMethod(c.Request.Method), strconv.Itoa(status)).Inc()
		g.metrics.seconds.WithLabelValues(route).Observe(took.Seconds())
		g.log.LogAttrs(ctx, slog.LevelInfo, "request",
			slog.String("request_id", requestID(c)), slog.String("method", c.Request.Method),
			slog.String("path", c.Request.URL.Path), slog.Int("status", status), slog.Float64("took_ms", float64(took.Microseconds())/1000),
			slog.Int("bytes", c.Writer.Size()), slog.String("caller", c.GetString(keyCaller)),
			slog.String("remote", c.Request.RemoteAddr), slog.String("problem", c.GetString(keyProblem)))
	}()
	c.Next()
}

// knownMethod keeps made-up methods out of the metrics' labels.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// recovered turns a panic, which is a bug, into a 500 and a stack in the log.
func (g *server) recovered(c *gin.Context) {
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == http.ErrAbortHandler: //nolint:errorlint // net/http compares it the same way
			panic(p)
		default:
			g.metrics.panics.Inc()
			g.log.LogAttrs(c, slog.LevelError, "panic", slog.String("request_id", requestID(c)),
				slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			g.fail(c, errs.New(errs.Internal, "panic: %v", p))
		}
	}()
	c.Next()
}

// harden sets what browsers should hold answers to. The page needs nothing
// from elsewhere but thumbnails.
func harden(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https: http: data:; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	if c.Request.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// sameOrigin refuses what another site's page makes a browser send: without
// keys, anyone's page could publish to the reader's own machine.
func (g *server) sameOrigin(c *gin.Context) {
	if err := g.origins.Check(c.Request); err != nil {
		g.fail(c, &refusal{"cross-origin", http.StatusForbidden, err})
	}
}

// deadline bounds a call and its body.
func (g *server) deadline(c *gin.Context) {
	done, err := g.bound(c)
	if err != nil {
		g.fail(c, err)
		return
	}
	defer done()
	c.Next()
}

// bound gives a call cfg.Timeout, or less where its caller says so, and its
// body cfg.MaxBodyBytes. done frees what that takes.
func (g *server) bound(c *gin.Context) (done func(), err error) {
	timeout, err := askedTimeout(c, g.cfg.Timeout)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), timeout)
	c.Request = c.Request.WithContext(ctx)
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, g.cfg.MaxBodyBytes)
	extend(c, timeout)
	return cancel, nil
}

// What a connection gets after a call's deadline: time for the answer to
// leave, and less for what still comes in, so that a body that trickles is
// told so.
const (
	answerGrace = 5 * time.Second
	bodyGrace   = 250 * time.Millisecond
)

// extend lets the connection live for d from now, reading and writing.
func extend(c *gin.Context, d time.Duration) {
	rc, until := http.NewResponseController(c.Writer), time.Now().Add(d)
	// Not supported only by the recorders of tests.
	if err := errors.Join(rc.SetReadDeadline(until.Add(bodyGrace)), rc.SetWriteDeadline(until.Add(answerGrace))); err != nil && !errors.Is(err, http.ErrNotSupported) {
		c.Header("Connection", "close")
	}
}

func askedTimeout(c *gin.Context, most time.Duration) (time.Duration, error) {
	text := c.GetHeader("Videosim-Timeout-Ms")
	if text == "" {
		return most, nil
	}
	ms, err := strconv.ParseUint(text, 10, 31)
	if err != nil || ms == 0 {
		return 0, errs.Field("Videosim-Timeout-Ms", "expected whole milliseconds above 0, found %q", text)
	}
	return min(most, time.Duration(ms)*time.Millisecond), nil
}

// handle makes a gin handler of one that returns its error.
func (g *server) handle(f func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := f(c); err != nil {
			g.fail(c, contextualised(c, err))
		}
	}
}

// contextualised says so when it was the deadline that ended a call. A context
// that is only cancelled says nothing: handlers cancel theirs on the way out.
func contextualised(c *gin.Context, err error) error {
	var r *refusal
	if !errors.Is(c.Request.Context().Err(), context.DeadlineExceeded) || errors.As(err, &r) || errs.KindOf(err) == errs.Invalid {
		return err
	}
	return errs.New(errs.Unavailable, "not answered in time: %w", err)
}
