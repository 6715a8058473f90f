package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
)

const contentJSON = "application/json"

// post sends in as JSON.
func (c *Client) post(ctx context.Context, path string, in, out any, headers map[string]string) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	return c.call(ctx, request{http.MethodPost, path, body, contentJSON, headers}, out)
}

// Similar answers one page of a query.
func (c *Client) Similar(ctx context.Context, q Query) (*Page, error) {
	out := &Page{}
	return out, c.post(ctx, "/v1/similar", q, out, nil)
}

// All walks the results of a query page by page, over a list that stands
// still. It ends with the first error.
func (c *Client) All(ctx context.Context, q Query) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		for {
			page, err := c.Similar(ctx, q)
			if err != nil {
				yield(Result{}, err)
				return
			}
			for _, r := range page.Results {
				if !yield(r, nil) {
					return
				}
			}
			if q.PageToken = page.NextPageToken; q.PageToken == "" {
				return
			}
		}
	}
}

// Similarity scores up to 8,192 pairs; Pairs takes any number.
func (c *Client) Similarity(ctx context.Context, pairs ...[2]Input) ([]PairScore, error) {
	var out struct {
		Results []PairScore `json:"results"`
	}
	err := c.post(ctx, "/v1/similarity", map[string]any{"pairs": pairs}, &out, nil)
	return out.Results, err
}

// Embed returns the embeddings of up to 64 contents, in order.
func (c *Client) Embed(ctx context.Context, videos ...Video) ([][]float32, error) {
	var out struct {
		Embeddings [][]float32 `json:"embeddings"`
	}
	err := c.post(ctx, "/v1/embeddings", map[string]any{"videos": videos}, &out, nil)
	return out.Embeddings, err
}

// Publish publishes or edits a video.
func (c *Client) Publish(ctx context.Context, v Video) (*Published, error) {
	out := &Published{}
	return out, c.post(ctx, "/v1/videos", v, out, map[string]string{"Idempotency-Key": newKey()})
}

// Delete takes a video down.
func (c *Client) Delete(ctx context.Context, id string) (*Published, error) {
	out := &Published{}
	headers := map[string]string{"Idempotency-Key": newKey()}
	return out, c.call(ctx, request{http.MethodDelete, "/v1/videos/" + url.PathEscape(id), nil, "", headers}, out)
}

// Video tells what became of a video.
func (c *Client) Video(ctx context.Context, id string) (*State, error) {
	out := &State{}
	return out, c.get(ctx, "/v1/videos/"+url.PathEscape(id), out)
}

// Explain splits the cosine of two indexed videos; with modalities it also
// says what title, speech and frames add, which takes an embedder's time.
func (c *Client) Explain(ctx context.Context, a, b string, modalities bool) (*Explanation, error) {
	out := &Explanation{}
	return out, c.get(ctx, fmt.Sprintf("/v1/videos/%s/explain/%s?modalities=%t", url.PathEscape(a), url.PathEscape(b), modalities), out)
}

func (c *Client) get(ctx context.Context, path string, out any) error {
	return c.call(ctx, request{http.MethodGet, path, nil, "", nil}, out)
}
