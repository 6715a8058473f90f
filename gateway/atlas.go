package gateway

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"videosim/gateway/query"
	"videosim/shared/errs"
	"videosim/shared/event"
)

// mapAnswer is a sample of the index in two dimensions: the two directions in
// which the embeddings of the sample differ most.
type mapAnswer struct {
	Points    []mapPoint `json:"points"`
	Explained [2]float64 `json:"explained"` // share of the sample's variance along x and along y
	envelope
}

type mapPoint struct {
	ID         string  `json:"id"`
	Title      string  `json:"title"`
	CategoryID int64   `json:"category_id"`
	X          float64 `json:"x"` // from -1 to 1
	Y          float64 `json:"y"`
}

const (
	defaultSample = 500
	maxSample     = 2000
	atlasLife     = 20 * time.Second // how long one drawing serves all who look
)

// atlas keeps the drawing that was made last: making one costs some hundred
// reads of the stream, and a page that many look at needs it once.
type atlas struct {
	drawing chan struct{} // one token: who holds it draws

	mu     sync.Mutex
	answer mapAnswer
	asked  int
	made   time.Time
}

func newAtlas() *atlas { return &atlas{drawing: make(chan struct{}, 1)} }

// kept returns the last drawing, if it is of that many points and recent.
func (a *atlas) kept(sample int) (mapAnswer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.answer, a.asked == sample && time.Since(a.made) < atlasLife
}

func (a *atlas) keep(sample int, answer mapAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer, a.asked, a.made = answer, sample, time.Now()
}

// sampleMap is GET /v1/map.
func (g *server) sampleMap(c *gin.Context) error {
	p := readParams(c, "sample")
	sample := defaultSample
	if p.values.Has("sample") {
		if sample = int(p.integer("sample")); sample < 3 || sample > maxSample {
			p.fault("sample", "expected 3 to %d, found %d", maxSample, sample)
		}
	}
	if p.err != nil {
		return p.err
	}
	out, err := g.drawMap(c, sample)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, out)
}

// drawMap draws, or waits for who draws already.
func (g *server) drawMap(c *gin.Context, sample int) (mapAnswer, error) {
	ctx := c.Request.Context()
	select {
	case g.atlas.drawing <- struct{}{}:
		defer func() { <-g.atlas.drawing }()
	case <-ctx.Done():
		return mapAnswer{}, errs.New(errs.Unavailable, "wait for the map: %w", ctx.Err())
	}
	if out, ok := g.atlas.kept(sample); ok {
		return out, nil
	}
	env, err := g.begin(c, freshness{})
	if err != nil {
		return mapAnswer{}, err
	}
	out, err := g.draw(ctx, sample)
	out.envelope = env
	if err == nil {
		g.atlas.keep(sample, out)
	}
	return out, err
}

func (g *server) draw(ctx context.Context, sample int) (mapAnswer, error) {
	out := mapAnswer{Points: []mapPoint{}}
	found, err := g.catalogue.bus.SampleEmbeddings(ctx, g.engine.Model.Fingerprint, sample)
	if err != nil {
		return out, err
	}
	vectors, usable := make([][]float32, 0, len(found)), found[:0]
	for _, e := range found {
		if len(e.Embedding) == g.engine.Model.Dim {
			vectors, usable = append(vectors, e.Embedding), append(usable, e)
		}
	}
	plane, err := query.Flatten(vectors)
	if err != nil {
		return out, err
	}
	out.Explained = plane.Explained
	for i, e := range usable {
		out.Points = append(out.Points, toMapPoint(e, plane.Places[i]))
	}
	return out, nil
}

func toMapPoint(e *event.Embedding, place [2]float64) mapPoint {
	return mapPoint{ID: e.Id, Title: e.Title, CategoryID: e.CategoryId, X: place[0], Y: place[1]}
}
