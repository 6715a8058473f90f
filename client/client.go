package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client asks one gateway. It is safe for concurrent use.
type Client struct {
	base  string
	key   string
	http  *http.Client
	tries int
	limit time.Duration // of one try
	pause time.Duration // before the second try; it doubles
}

// Option changes a Client.
type Option func(*Client)

// WithKey presents an API key.
func WithKey(key string) Option { return func(c *Client) { c.key = key } }

// WithHTTP uses a client of one's own, for TLS, proxies or tests.
func WithHTTP(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithTries bounds how often a call is tried; the default is 5, 1 means once.
func WithTries(n int) Option { return func(c *Client) { c.tries = max(1, n) } }

// WithTimeout bounds one try of a call, so that a connection that hangs is
// given up and tried again; the default is 30 s. The context bounds all tries
// together. Streams of pairs are bounded by their context alone.
func WithTimeout(d time.Duration) Option { return func(c *Client) { c.limit = d } }

// connections are the idle ones kept to the gateway: as many as calls that
// commonly run at once. Go's default of two would open a new one a call.
const connections = 64

func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = connections, connections
	return t
}

// longestPause bounds the pause between two tries that the gateway does not
// name itself, and maxAnswer an answer in memory.
const (
	longestPause = 10 * time.Second
	maxAnswer    = 256 << 20
)

// New returns a Client for the gateway at base, such as http://127.0.0.1:8080.
func New(base string, options ...Option) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("expected an address such as http://127.0.0.1:8080, found %q", base)
	}
	c := &Client{base: strings.TrimSuffix(base, "/"), tries: 5, limit: 30 * time.Second, pause: 100 * time.Millisecond}
	for _, o := range options {
		o(c)
	}
	if c.http == nil {
		c.http = &http.Client{Transport: transport()}
	}
	return c, nil
}

// request is a call that can be made again.
type request struct {
	method, path string
	body         []byte
	contentType  string
	headers      map[string]string
}

// call makes a request as often as it takes and decodes its answer.
func (c *Client) call(ctx context.Context, r request, out any) error {
	pause := c.pause
	for try := 1; ; try++ {
		wait, err := c.once(ctx, r, out)
		if err == nil || wait < 0 || try == c.tries || ctx.Err() != nil {
			return err
		}
		// Half of it at random, so that clients do not come back together.
		wait = max(wait, pause/2+mathrand.N(pause/2))
		pause = min(2*pause, longestPause)
		if end, bounded := ctx.Deadline(); bounded && time.Until(end) < wait {
			return err // the next try would come too late
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// once makes one try. wait is how long the gateway wants to be left alone
// before the next; negative: another try is of no use.
func (c *Client) once(ctx context.Context, r request, out any) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	res, err := c.send(ctx, r.method, r.path, bytes.NewReader(r.body), r.contentType, r.headers)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return retryAfter(res), problemOf(res)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("%s %s: read the answer: %w", r.method, r.path, err)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return -1, fmt.Errorf("%s %s: read the answer: %w", r.method, r.path, err)
	}
	return 0, nil
}

// send makes one HTTP request.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader, contentType string, headers map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if end, bounded := ctx.Deadline(); bounded { // the gateway gives up when we do
		if left := time.Until(end).Milliseconds(); left > 0 && left < 1<<31 {
			req.Header.Set("Videosim-Timeout-Ms", strconv.FormatInt(left, 10))
		}
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return res, nil
}

// retryAfter is what a 429 or 503 asks for, in seconds or as a date, 0 where it
// names nothing. 502 and a 504 that is no problem come from what stands between
// here and the gateway, and pass. Negative for every other status.
func retryAfter(res *http.Response) time.Duration {
	problem := strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json")
	switch status := res.StatusCode; {
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
	case status == http.StatusBadGateway, status == http.StatusGatewayTimeout && !problem:
	default:
		return -1
	}
	asked := res.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(asked, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(asked); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// problemOf reads a refusal; whatever stands between here and the gateway may
// answer with something else than a problem.
func problemOf(res *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	p := &Problem{}
	if jsonErr := json.Unmarshal(text, p); err != nil || jsonErr != nil || p.Status == 0 {
		return &Problem{Status: res.StatusCode, Title: http.StatusText(res.StatusCode), Detail: errText(err, string(text))}
	}
	return p
}

func errText(err error, text string) string {
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	const shown = 200
	if len(text) > shown {
		text = text[:shown]
	}
	return strings.ToValidUTF8(text, "")
}

// newKey names one publish and its repetitions.
func newKey() string { return rand.Text() }
