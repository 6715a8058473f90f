package gateway

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"videosim/gateway/query"
	"videosim/shared/errs"
)

// Progress tells how far the index has come along the stream VIDEOS.
// *bus.Progress is the real one.
type Progress interface {
	Sequence() uint64
	Wait(ctx context.Context, sequence uint64) error
}

// begin waits for what the caller demands and starts an answer's envelope. It
// comes before the index is read, so the answer has seen at least what the
// envelope says.
func (g *server) begin(c *gin.Context, f freshness) (envelope, error) {
	if f.WaitMS < 0 {
		return envelope{}, errs.Field("wait_ms", "expected 0 or more, found %d", f.WaitMS)
	}
	if f.MinSequence > math.MaxInt64 { // as openapi.json says: no stream gets there
		return envelope{}, errs.Field("min_sequence", "expected at most %d, found %d", int64(math.MaxInt64), f.MinSequence)
	}
	if f.WaitMS > 0 && f.MinSequence == 0 {
		return envelope{}, errs.Field("min_sequence", "expected a sequence to wait for with wait_ms, found none")
	}
	if f.Model != "" && f.Model != g.engine.Model.Fingerprint {
		return envelope{}, &refusal{"other-model", http.StatusConflict,
			errs.Field("model", "expected %s, whose embeddings this gateway compares, found %q", g.engine.Model.Fingerprint, f.Model)}
	}
	if seen := g.progress.Sequence(); seen < f.MinSequence {
		if err := g.await(c.Request.Context(), f); err != nil {
			return envelope{}, err
		}
	}
	return envelope{Model: g.engine.Model.Fingerprint, IndexedSequence: g.progress.Sequence(), MissingIDs: []string{}}, nil
}

func (g *server) await(ctx context.Context, f freshness) error {
	start := time.Now()
	defer query.TimingsOf(ctx).Since(query.Wait, start)
	wait := time.Duration(min(f.WaitMS, g.cfg.Timeout.Milliseconds())) * time.Millisecond
	if wait > 0 {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		if g.progress.Wait(ctx, f.MinSequence) == nil {
			return nil
		}
	}
	seen := g.progress.Sequence()
	if seen >= f.MinSequence {
		return nil
	}
	return &refusal{"sequence-not-reached", http.StatusGatewayTimeout,
		fmt.Errorf("waited %s for sequence %d, the index has seen %d", time.Since(start).Round(time.Millisecond), f.MinSequence, seen)}
}
