package gateway

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"

	"videosim/gateway/query"
	"videosim/shared/errs"
)

// batchRequest is the body of POST /v1/similar/batch. Freshness is demanded
// once, for all queries.
type batchRequest struct {
	Queries []similarRequest `json:"queries"`
	freshness
}

type batchAnswer struct {
	Answers []batchItem `json:"answers"` // one a query, in order
	envelope
}

// batchItem is an answer or a problem: one bad query spoils no other.
type batchItem struct {
	Answer  *similarAnswer `json:"answer,omitzero"`
	Problem *Problem       `json:"problem,omitzero"`
}

// batchParallel is how many queries of one batch run at once, so that a batch
// takes no more of the index than a few callers.
const batchParallel = 4

// similarBatch is POST /v1/similar/batch.
func (g *server) similarBatch(c *gin.Context) error {
	var req batchRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	if n := len(req.Queries); n < 1 || n > query.MaxQueries {
		return errs.Field("queries", "expected 1 to %d, found %d", query.MaxQueries, n)
	}
	for i, q := range req.Queries {
		if q.freshness != (freshness{}) {
			return errs.Field(fmt.Sprintf("queries[%d].min_sequence", i), "expected min_sequence, wait_ms and model once, beside queries")
		}
	}
	env, err := g.begin(c, req.freshness)
	if err != nil {
		return err
	}
	out := batchAnswer{Answers: make([]batchItem, len(req.Queries)), envelope: env}
	var group errgroup.Group
	group.SetLimit(batchParallel)
	whole, id, spent := c.Request.Context(), requestID(c), make([]*query.Timings, len(req.Queries))
	for i, one := range req.Queries {
		ctx, times := query.Timed(whole)
		spent[i] = times
		group.Go(func() error {
			defer g.recoverItem(&out.Answers[i], id)
			page, err := g.ask(ctx, one, env, req.MinSequence)
			if err != nil {
				p := newProblem(within(fmt.Sprintf("queries[%d]", i), err), id)
				out.Answers[i].Problem = &p
				return nil
			}
			a := toSimilarAnswer(env, page)
			out.Answers[i].Answer = &a
			return nil
		})
	}
	_ = group.Wait() // items carry their own errors
	for _, beside := range spent {
		query.TimingsOf(whole).Slowest(beside)
	}
	out.MissingIDs = missingOf(out.Answers)
	return answer(c, http.StatusOK, out)
}

// missingOf is the missing ids of all queries, each once.
func missingOf(items []batchItem) []string {
	all := []string{}
	seen := map[string]bool{}
	for _, item := range items {
		if item.Answer == nil {
			continue
		}
		for _, id := range item.Answer.MissingIDs {
			if !seen[id] {
				seen[id] = true
				all = append(all, id)
			}
		}
	}
	return all
}

// recoverItem is recovered for a query that runs on a goroutine of its own.
func (g *server) recoverItem(item *batchItem, id string) {
	if p := recover(); p != nil {
		g.metrics.panics.Inc()
		g.log.Error("panic", "request_id", id, "panic", p)
		problem := newProblem(errs.New(errs.Internal, "panic: %v", p), id)
		item.Problem = &problem
	}
}
