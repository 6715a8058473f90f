package gateway

import (
	"context"
	"math"
	"net/http"

	"github.com/gin-gonic/gin"

	"videosim/shared/eval"
)

type evaluationAnswer struct {
	Spearman   *float64 `json:"spearman"`   // null where it is undefined: fewer than two pairs, or all alike
	Pairs      int      `json:"pairs"`      // different pairs scored
	Missing    int      `json:"missing"`    // different pairs passed over
	Unlabelled int      `json:"unlabelled"` // lines without a label
	envelope            // missing_ids: the first 100
}

// evaluate is POST /v1/evaluations: a label.tsv as it is. Rank correlation
// needs all numbers at once, so the pairs stay in memory, up to
// max-label-pairs; embeddings do not.
func (g *server) evaluate(c *gin.Context) error {
	p := readParams(c, "min_sequence", "wait_ms")
	fresh := p.freshness()
	if p.err != nil {
		return p.err
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), g.cfg.StreamTimeout)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	extend(c, g.cfg.StreamTimeout)
	pairs, err := eval.ReadPairs(&patientReader{c: c, g: g, body: c.Request.Body}, eval.PairLimits{MaxPairs: g.cfg.MaxLabelPairs})
	if err != nil {
		return err
	}
	env, err := g.begin(c, fresh)
	if err != nil {
		return err
	}
	result, err := g.engine.Evaluate(ctx, pairs)
	if err != nil {
		return err
	}
	g.metrics.pairs.Add(float64(result.Pairs))
	env.MissingIDs = result.MissingIDs
	out := evaluationAnswer{Pairs: result.Pairs, Missing: result.Missing, Unlabelled: result.Unlabelled, envelope: env}
	if !math.IsNaN(result.Spearman) {
		out.Spearman = &result.Spearman
	}
	return answer(c, http.StatusOK, out)
}
