package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"time"
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

// SimilarBatch answers up to 64 queries in one call, in order. One that fails
// spoils no other: it has a Problem in place of a Page. All wait for the greatest
// MinSequence, for the longest WaitMS; a Model is that of all.
func (c *Client) SimilarBatch(ctx context.Context, queries ...Query) ([]BatchItem, error) {
	in := batch{Queries: slices.Clone(queries)}
	for i := range in.Queries {
		q := &in.Queries[i]
		if in.Model != "" && q.Model != "" && q.Model != in.Model {
			return nil, fmt.Errorf("queries[%d].Model: expected %q, as of those before, found %q", i, in.Model, q.Model)
		}
		in.MinSequence, in.WaitMS = max(in.MinSequence, q.MinSequence), max(in.WaitMS, q.WaitMS)
		in.Model = cmp.Or(in.Model, q.Model)
		q.MinSequence, q.WaitMS, q.Model = 0, 0, ""
	}
	out := &batchAnswer{}
	if err := c.post(ctx, "/v1/similar/batch", in, out, nil); err != nil {
		return nil, err
	}
	return out.Answers, nil
}

// Similarity scores pairs of ids, contents and embeddings; Pairs takes any
// number of pairs of ids.
func (c *Client) Similarity(ctx context.Context, q PairQuery) (*Similarity, error) {
	out := &Similarity{}
	return out, c.post(ctx, "/v1/similarity", q, out, nil)
}

// Embed returns the embeddings of up to 64 contents, in order.
func (c *Client) Embed(ctx context.Context, videos ...Video) (*Embeddings, error) {
	out := &Embeddings{}
	return out, c.post(ctx, "/v1/embeddings", map[string]any{"videos": videos}, out, nil)
}

// Publish publishes or edits a video. Its tries share one Idempotency-Key.
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

// Await waits until queries see an event, such as one that Publish returned,
// and tells what became of its video; at most as long as ctx lets it.
func (c *Client) Await(ctx context.Context, p *Published) (*State, error) {
	path := fmt.Sprintf("/v1/videos/%s?min_sequence=%d&wait_ms=%d", url.PathEscape(p.ID), p.Sequence, awaitRound.Milliseconds())
	for {
		out := &State{}
		err := c.get(ctx, path, out)
		var problem *Problem
		if errors.As(err, &problem) && problem.Type == typeNotReached && ctx.Err() == nil {
			continue // each round is a call that waits
		}
		return out, err
	}
}

// awaitRound is how long one call of Await waits at the gateway, less than
// proxies commonly let a call take.
const awaitRound = 5 * time.Second

// Map lays out a sample of the index, 3 to 2,000 videos, in two dimensions.
func (c *Client) Map(ctx context.Context, sample int) (*Map, error) {
	out := &Map{}
	return out, c.get(ctx, fmt.Sprintf("/v1/map?sample=%d", sample), out)
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
