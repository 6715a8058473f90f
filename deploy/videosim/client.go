package videosim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"videosim/shared/errs"
)

// client asks a gateway what a product backend would ask.
type client struct {
	base string // http://host:port
	http http.Client
}

// callTimeout bounds one call; a query that waits for a sequence says so
// itself and gets that time on top.
const callTimeout = time.Minute

// found is one result of a query.
type found struct {
	ID     string  `json:"id"`
	Score  float64 `json:"score"`
	Cosine float64 `json:"cosine"`
	Title  string  `json:"title"`
}

// answer is what a query returns.
type answer struct {
	Results         []found  `json:"results"`
	Model           string   `json:"model"`
	IndexedSequence uint64   `json:"indexed_sequence"`
	MissingIDs      []string `json:"missing_ids"`
}

// similarByID asks for the k videos most like an indexed one.
func (c *client) similarByID(ctx context.Context, id string, k int) (answer, error) {
	var a answer
	return a, c.call(ctx, http.MethodGet, fmt.Sprintf("/v1/videos/%s/similar?k=%d", url.PathEscape(id), k), nil, &a)
}

// similarTo asks for the k videos most like a content that no one published.
func (c *client) similarTo(ctx context.Context, content any, k int) (answer, error) {
	var a answer
	query := map[string]any{"positive": []any{map[string]any{"video": content}}, "k": k}
	return a, c.call(ctx, http.MethodPost, "/v1/similar", query, &a)
}

// waitIndexed returns once queries see every event up to sequence.
func (c *client) waitIndexed(ctx context.Context, id string, sequence uint64, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		step := min(time.Until(deadline), 10*time.Second)
		query := map[string]any{
			"positive": []any{map[string]any{"id": id}}, "k": 1, "on_missing": "skip",
			"min_sequence": sequence, "wait_ms": step.Milliseconds(),
		}
		err := c.call(ctx, http.MethodPost, "/v1/similar", query, new(answer))
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) || !isTimeout(err) {
			return err
		}
	}
}

// waitServing returns once the gateway answers anything at all.
func (c *client) waitServing(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		err := c.call(ctx, http.MethodGet, "/openapi.json", nil, new(json.RawMessage))
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the gateway: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// scored is one line of a pairwise answer; Cosine is null where an id is missing.
type scored struct {
	Score  *float64 `json:"score"`
	Cosine *float64 `json:"cosine"`
}

// similarity scores pairs of indexed ids.
func (c *client) similarity(ctx context.Context, pairs [][2]string) ([]scored, error) {
	var a struct {
		Results []scored `json:"results"`
	}
	err := c.call(ctx, http.MethodPost, "/v1/similarity", map[string]any{"pairs": pairs}, &a)
	if err == nil && len(a.Results) != len(pairs) {
		err = fmt.Errorf("expected %d scores, found %d", len(pairs), len(a.Results))
	}
	return a.Results, err
}

// evaluation is the agreement with human judgement.
type evaluation struct {
	Spearman *float64 `json:"spearman"` // null where it is undefined
	Pairs    int      `json:"pairs"`
	Missing  int      `json:"missing"`
}

// evaluate posts a label.tsv as it is.
func (c *client) evaluate(ctx context.Context, labels string) (evaluation, error) {
	var e evaluation
	f, err := os.Open(labels)
	if err != nil {
		return e, err
	}
	defer f.Close()
	return e, c.send(ctx, http.MethodPost, "/v1/evaluations", "text/tab-separated-values", f, &e)
}

// problem is an answer that failed (RFC 9457).
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (p *problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail) }

func isTimeout(err error) bool {
	p, ok := err.(*problem)
	return ok && p.Status == http.StatusGatewayTimeout
}

func (c *client) call(ctx context.Context, method, path string, body, into any) error {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(data)
	}
	return c.send(ctx, method, path, "application/json", r, into)
}

func (c *client) send(ctx context.Context, method, path, contentType string, body io.Reader, into any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return errs.New(errs.Unavailable, "ask the gateway: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		p := &problem{Status: res.StatusCode, Title: res.Status}
		_ = json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(p) // without a body the status has to do
		return p
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(into); err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return nil
}
