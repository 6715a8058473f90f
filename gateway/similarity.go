package gateway

import (
	"bufio"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"videosim/gateway/query"
	"videosim/shared/errs"
)

// similarityRequest is the JSON body of POST /v1/similarity.
type similarityRequest struct {
	Pairs [][]input `json:"pairs"` // two inputs each
	freshness
}

// pairResult is one pair. Cosine and score are null where an id is missing.
type pairResult struct {
	A      string   `json:"a,omitzero"` // the id, where the input has one
	B      string   `json:"b,omitzero"`
	Cosine *float64 `json:"cosine"`
	Score  *float64 `json:"score"`
}

type similarityAnswer struct {
	Results []pairResult `json:"results"`
	envelope
	Inputs []report `json:"inputs"`
}

// similarity is POST /v1/similarity, in JSON or as a stream of lines.
func (g *server) similarity(c *gin.Context) error {
	lines, body, err := pairsForm(c)
	if err != nil {
		return err
	}
	if lines {
		return g.streamPairs(c, body)
	}
	done, err := g.bound(c)
	if err != nil {
		return err
	}
	defer done()
	var req similarityRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	if req.freshness, err = bothFreshness(c, req.freshness); err != nil {
		return err
	}
	pairs, err := g.toPairs(req.Pairs)
	if err != nil {
		return err
	}
	env, err := g.begin(c, req.freshness)
	if err != nil {
		return err
	}
	scores, err := g.engine.Pairs(c.Request.Context(), pairs)
	if err != nil {
		return err
	}
	g.metrics.pairs.Add(float64(len(pairs)))
	env.MissingIDs = scores.Missing
	out := similarityAnswer{envelope: env, Results: make([]pairResult, len(pairs)), Inputs: toReports(scores.Reports)}
	for i, s := range scores.Scores {
		out.Results[i] = pairResult{A: inputID(pairs[i][0]), B: inputID(pairs[i][1])}
		if s.Known {
			out.Results[i].Cosine, out.Results[i].Score = &s.Cosine, &s.Score
		}
	}
	return answer(c, http.StatusOK, out)
}

// bothFreshness is what the query string or the body demands. The query string
// is meant for streams; a caller of the JSON form may use it too, but not both.
func bothFreshness(c *gin.Context, body freshness) (freshness, error) {
	p := readParams(c, "column", "min_sequence", "wait_ms", "model")
	query := p.freshness()
	if column := p.text("column"); p.values.Has("column") && column != "cosine" && column != "score" {
		p.fault("column", "expected cosine or score, found %q", column)
	}
	if query == (freshness{}) {
		return body, p.err
	}
	if body != (freshness{}) {
		p.fault("min_sequence", "expected it in the body or in the query string, found both")
	}
	return query, p.err
}

func inputID(in query.Input) string {
	if in.Video != nil {
		return in.Video.Id
	}
	return in.ID
}

func (g *server) toPairs(in [][]input) ([][2]query.Input, error) {
	if len(in) == 0 {
		return nil, errs.Field("pairs", "expected at least one pair, found none")
	}
	if len(in) > query.MaxPairs {
		return nil, errs.Field("pairs", "expected at most %d pairs, found %d: send more as text/tab-separated-values, which has no limit", query.MaxPairs, len(in))
	}
	out := make([][2]query.Input, len(in))
	for i, pair := range in {
		path := fmt.Sprintf("pairs[%d]", i)
		if len(pair) != 2 {
			return nil, errs.Field(path, "expected two inputs, found %d", len(pair))
		}
		two, err := g.toQueries(pair, path)
		if err != nil {
			return nil, err
		}
		out[i] = [2]query.Input(two)
	}
	return out, nil
}

// pairsForm tells lines from JSON by the content type, or by the first byte
// where that says nothing: curl --data-binary @label.tsv claims to be a form.
func pairsForm(c *gin.Context) (lines bool, body *bufio.Reader, err error) {
	media, err := contentType(c)
	if err != nil {
		return false, nil, err
	}
	switch media {
	case "application/json":
		return false, nil, nil
	case "text/tab-separated-values", "text/plain":
		return true, bufio.NewReader(c.Request.Body), nil
	case "", formType, "application/octet-stream":
		body = bufio.NewReader(c.Request.Body)
		first, err := body.Peek(1)
		lines = err != nil || first[0] != '{'
		c.Request.Body = peeked{body, c.Request.Body}
		return lines, body, nil
	}
	return false, nil, unsupported("application/json or text/tab-separated-values", media)
}
