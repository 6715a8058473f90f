package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"

	"videosim/gateway/query"
	"videosim/shared/errs"
)

// Problem is an error answer (RFC 9457). Type is one of the stable names in
// problemTitles behind problemPrefix; everything else may be reworded.
type Problem struct {
	Type       string   `json:"type"`
	Title      string   `json:"title"`
	Status     int      `json:"status"`
	Detail     string   `json:"detail,omitzero"`
	Field      string   `json:"field,omitzero"`       // the input at fault
	MissingIDs []string `json:"missing_ids,omitzero"` // with not-found, where ids were asked for
	RequestID  string   `json:"request_id"`
}

const problemPrefix = "urn:videosim:problem:"

// problemTitles is the list of problem types. A name never changes its meaning.
var problemTitles = map[string]string{
	"invalid":                "The request is not valid",
	"unauthorized":           "An API key is needed",
	"unknown-host":           "This server does not answer to that name",
	"idempotency-key-reused": "The Idempotency-Key belongs to another event",
	"too-slow":               "The request did not arrive in time",
	"forbidden":              "The API key lacks the scope",
	"cross-origin":           "A page of another origin may not do this",
	"not-found":              "There is no such thing",
	"method-not-allowed":     "The path does not take this method",
	"too-large":              "The request is too large",
	"unsupported-media-type": "The content type is not taken here",
	"rate-limited":           "The API key asks too often",
	"overloaded":             "Too much is waiting already",
	"internal":               "The gateway failed",
	"corrupt":                "Stored data failed its check",
	"unavailable":            "A service that this answer needs does not answer",
	"other-model":            "The gateway answers for another model",
	"sequence-not-reached":   "The index has not seen that sequence yet",
}

// refusal is an error that the table of kinds has no line for: what HTTP
// itself asks of a server.
type refusal struct {
	name   string // of problemTitles
	status int
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(name string, status int, text string) error {
	return &refusal{name, status, errors.New(text)}
}

// newProblem is the answer to err. What went wrong inside stays in the log.
func newProblem(err error, requestID string) Problem {
	kind := errs.KindOf(err)
	policy := errs.PolicyOf(kind)
	name, status := policy.Name, policy.HTTP
	var r *refusal
	if errors.As(err, &r) {
		name, status = r.name, r.status
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		name, status = "too-large", http.StatusRequestEntityTooLarge
		err = errors.New("expected a body of at most " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) { // only the connection has such deadlines
		name, status, err = "too-slow", http.StatusRequestTimeout, errors.New("expected the whole body before the deadline")
	}
	p := Problem{
		Type: problemPrefix + name, Title: problemTitles[name], Status: status,
		Detail: err.Error(), Field: errs.FieldOf(err), RequestID: requestID,
	}
	var missing *query.MissingError
	if errors.As(err, &missing) {
		p.MissingIDs = missing.IDs
	}
	if status == http.StatusInternalServerError {
		p.Detail = "the log has the reason under this request_id"
	}
	return p
}

// fail answers with the problem that err is, and logs what is the server's fault.
func (g *server) fail(c *gin.Context, err error) {
	p := newProblem(err, requestID(c))
	c.Set(keyProblem, p.Type)
	asked := p.Status == http.StatusGatewayTimeout // a sequence that the caller would not wait longer for
	if p.Status >= http.StatusInternalServerError && !asked && !errors.Is(err, context.Canceled) {
		g.log.LogAttrs(c, slog.LevelError, "request failed",
			slog.String("request_id", p.RequestID), slog.String("path", c.Request.URL.Path), slog.Any("error", err))
	}
	if c.Writer.Written() {
		// Half an answer is out: break the connection, so that nobody takes it
		// for a whole one.
		panic(http.ErrAbortHandler)
	}
	if p.Status == http.StatusTooManyRequests && c.Writer.Header().Get("Retry-After") == "" {
		c.Header("Retry-After", "1")
	}
	if p.Status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Bearer realm="videosim"`)
	}
	body, err := json.Marshal(p, lenientText)
	if err != nil {
		body = []byte(`{}`) // strings, numbers and lenient text cannot fail
	}
	c.Abort()
	serverTiming(c)
	c.Header("Content-Type", "application/problem+json") // gin keeps what a handler had set
	c.Data(p.Status, "application/problem+json", body)
}
