package gateway

import (
	"context"
	"math"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"

	"videosim/gateway/query"
	"videosim/shared/errs"
)

const defaultK = 10

// similarRequest is the body of POST /v1/similar.
type similarRequest struct {
	Positive  []input  `json:"positive"`
	Negative  []input  `json:"negative"`
	K         *int     `json:"k"`
	Filter    filter   `json:"filter"`
	MinScore  float64  `json:"min_score"`
	Exclude   []string `json:"exclude"`
	Diversity float64  `json:"diversity"`
	OnMissing string   `json:"on_missing"` // "error" (default) or "skip"
	PageToken string   `json:"page_token"`
	freshness
}

// similarAnswer is one page.
type similarAnswer struct {
	Results []result `json:"results"`
	envelope
	Inputs        []report `json:"inputs"` // what was seen of contents
	NextPageToken string   `json:"next_page_token,omitzero"`
}

// similarTo is GET /v1/videos/{id}/similar.
func (g *server) similarTo(c *gin.Context) error {
	req, err := similarParams(c)
	if err != nil {
		return err
	}
	return g.answerSimilar(c, req)
}

// similar is POST /v1/similar.
func (g *server) similar(c *gin.Context) error {
	var req similarRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	return g.answerSimilar(c, req)
}

// answerSimilar waits for what is demanded, then asks.
func (g *server) answerSimilar(c *gin.Context, req similarRequest) error {
	env, err := g.begin(c, req.freshness)
	if err != nil {
		return err
	}
	page, err := g.ask(c.Request.Context(), req, env, req.MinSequence)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, toSimilarAnswer(env, page))
}

// ask checks a request and answers it. env is from before the index is read;
// a list that is older than atLeast must not be walked.
func (g *server) ask(ctx context.Context, req similarRequest, env envelope, atLeast uint64) (*query.Page, error) {
	q, err := g.similarQuery(req)
	if err != nil {
		return nil, err
	}
	q.Seen, q.MinSeen = env.IndexedSequence, atLeast
	return g.engine.Similar(ctx, q)
}

func toSimilarAnswer(env envelope, page *query.Page) similarAnswer {
	env.MissingIDs, env.IndexedSequence = page.Missing, page.Seen
	out := similarAnswer{envelope: env, Results: make([]result, len(page.Results)), Inputs: toReports(page.Reports), NextPageToken: page.NextToken}
	for i, r := range page.Results {
		out.Results[i] = toResult(r)
	}
	return out
}

// similarQuery checks a request, field by field.
func (g *server) similarQuery(req similarRequest) (query.Similar, error) {
	q := query.Similar{K: defaultK, MinScore: req.MinScore, Diversity: req.Diversity, PageToken: req.PageToken}
	if req.K != nil {
		q.K = *req.K
	}
	switch {
	case q.K < 1 || q.K > query.MaxK:
		return q, errs.Field("k", "expected 1 to %d, found %d", query.MaxK, q.K)
	case !(req.MinScore >= 0 && req.MinScore <= 1):
		return q, errs.Field("min_score", "expected 0 to 1, found %v", req.MinScore)
	case !(req.Diversity >= 0 && req.Diversity <= 1) || math.IsNaN(req.Diversity):
		return q, errs.Field("diversity", "expected 0 to 1, found %v", req.Diversity)
	case len(req.Positive) == 0:
		return q, errs.Field("positive", "expected at least one video to be like, found none")
	case len(req.Positive)+len(req.Negative) > query.MaxInputs:
		return q, errs.Field("positive", "expected at most %d positives and negatives together, found %d", query.MaxInputs, len(req.Positive)+len(req.Negative))
	}
	switch req.OnMissing {
	case "", "error":
	case "skip":
		q.SkipMissing = true
	default:
		return q, errs.Field("on_missing", "expected error or skip, found %q", req.OnMissing)
	}
	var err error
	if q.Positive, err = g.toQueries(req.Positive, "positive"); err != nil {
		return q, err
	}
	if q.Negative, err = g.toQueries(req.Negative, "negative"); err != nil {
		return q, err
	}
	q.Filter, err = req.Filter.toQuery(req.Exclude)
	return q, err
}

// answer writes v as JSON, with the times of the call.
func answer(c *gin.Context, status int, v any) error {
	body, err := json.Marshal(v, lenientText)
	if err != nil {
		return errs.New(errs.Internal, "encode the answer: %w", err)
	}
	serverTiming(c)
	c.Data(status, "application/json", body)
	return nil
}
