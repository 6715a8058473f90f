package gateway

import (
	"context"
	"math"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"videosim/gateway/query"
	"videosim/shared/eval"
)

type evaluationAnswer struct {
	Spearman   *float64 `json:"spearman"`        // null where it is undefined: fewer than two pairs, or all alike
	Pairs      int      `json:"pairs"`           // different pairs scored
	Missing    int      `json:"missing"`         // different pairs passed over
	Unlabelled int      `json:"unlabelled"`      // lines without a label
	Points     []point  `json:"points,omitzero"` // with points=N: some of the pairs, spread over the file
	envelope            // missing_ids: the first 100
}

// point is one pair with both judgements.
type point struct {
	A      string  `json:"a"`
	B      string  `json:"b"`
	Label  float64 `json:"label"`
	Cosine float64 `json:"cosine"`
	Score  float64 `json:"score"`
}

// maxPoints is what a plot can show and one fetch brings.
const maxPoints = 4000

// evaluate is POST /v1/evaluations: a label.tsv as it is. Rank correlation
// needs all numbers at once, so the pairs stay in memory, up to
// max-label-pairs; embeddings do not.
func (g *server) evaluate(c *gin.Context) error {
	p := readParams(c, "points", "min_sequence", "wait_ms", "model")
	fresh, points := p.freshness(), int(p.integer("points"))
	if points < 0 || points > maxPoints {
		p.fault("points", "expected 0 to %d, found %d", maxPoints, points)
	}
	if p.err != nil {
		return p.err
	}
	if _, err := contentType(c); err != nil { // lines whatever they are called
		return err
	}
	timeout, err := askedTimeout(c, g.cfg.StreamTimeout)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), timeout)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	extend(c, timeout) // for all of it: a body that trickles ends here, too
	pairs, err := eval.ReadPairs(bodyReader{c.Request.Body}, eval.PairLimits{MaxPairs: g.cfg.MaxLabelPairs})
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
	if points > 0 {
		if out.Points, err = g.points(ctx, pairs, points); err != nil {
			return err
		}
	}
	return answer(c, http.StatusOK, out)
}

// points scores at most n of the pairs with a label, evenly spread.
func (g *server) points(ctx context.Context, pairs []eval.Pair, n int) ([]point, error) {
	labelled := slices.DeleteFunc(pairs, func(p eval.Pair) bool { return !p.HasLabel })
	some := make([]eval.Pair, min(n, len(labelled)))
	for i := range some {
		some[i] = labelled[i*len(labelled)/len(some)]
	}
	scores := make([]query.PairScore, len(some))
	if err := g.engine.ScoreIDs(ctx, some, scores, func(string) {}); err != nil {
		return nil, err
	}
	out := make([]point, 0, len(some))
	for i, p := range some {
		if scores[i].Known {
			out = append(out, point{p.A, p.B, p.Label, scores[i].Cosine, scores[i].Score})
		}
	}
	return out, nil
}
