package gateway

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"videosim/gateway/query"
	"videosim/shared/errs"
)

// embeddingsRequest is the body of POST /v1/embeddings.
type embeddingsRequest struct {
	Videos []jsontext.Value `json:"videos"` // contents, as in events; without ids if they have none
}

type embeddingsAnswer struct {
	Embeddings [][]float32 `json:"embeddings"` // normalised, one a video in order
	envelope
	Inputs []report `json:"inputs"`
}

// embeddings is POST /v1/embeddings.
func (g *server) embeddings(c *gin.Context) error {
	var req embeddingsRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	if n := len(req.Videos); n < 1 || n > query.MaxContents {
		return errs.Field("videos", "expected 1 to %d, found %d", query.MaxContents, n)
	}
	inputs := make([]query.Input, len(req.Videos))
	for i, raw := range req.Videos {
		path := fmt.Sprintf("videos[%d]", i)
		v, err := g.content(raw, path)
		if err != nil {
			return err
		}
		inputs[i] = query.Input{Path: path, Video: v}
	}
	env, err := g.begin(c, freshness{})
	if err != nil {
		return err
	}
	res, err := g.engine.Resolve(c.Request.Context(), inputs)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, embeddingsAnswer{Embeddings: res.Vectors, envelope: env, Inputs: toReports(res.Reports)})
}
