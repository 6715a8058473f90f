package gateway

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"videosim/gateway/ui"
	"videosim/shared/errs"
)

// routes builds the handler. Every call passes, in this order: an id, the log
// and the metrics, the net under panics, the headers, the doors for browsers,
// a free slot; those under /v1 then the key, its rate, its share of the slots,
// and the deadline.
func (g *server) routes() http.Handler {
	gin.SetMode(gin.ReleaseMode) // gin prints its routes otherwise
	e := gin.New()
	e.UseRawPath, e.UnescapePathValues = true, true // ids may hold an escaped slash
	e.RedirectTrailingSlash = false
	e.HandleMethodNotAllowed = true
	e.ContextWithFallback = true
	e.Use(g.identify, g.observe, g.recovered, harden, g.knownHost, g.sameOrigin, g.limitInFlight)
	e.NoRoute(func(c *gin.Context) {
		g.fail(c, errs.New(errs.NotFound, "no such path: %s; /openapi.json lists them", c.Request.URL.Path))
	})
	e.NoMethod(func(c *gin.Context) {
		g.fail(c, refuse("method-not-allowed", http.StatusMethodNotAllowed, fmt.Sprintf("expected one of %s, found %s", c.Writer.Header().Get("Allow"), c.Request.Method)))
	})

	ask := e.Group("/v1", g.authorize(Query), g.limitRate, g.limitCaller, g.deadline)
	ask.GET("/videos/:id/similar", g.handle(g.similarTo))
	ask.POST("/similar", g.handle(g.similar))
	ask.POST("/similar/batch", g.handle(g.similarBatch))
	ask.POST("/embeddings", g.handle(g.embeddings))
	ask.GET("/map", g.handle(g.sampleMap))
	ask.GET("/videos/:id", g.handle(g.video))
	ask.GET("/videos/:id/explain/:other", g.handle(g.explain))

	stream := e.Group("/v1", g.authorize(Query), g.limitRate, g.limitCaller) // deadlines of their own
	stream.POST("/similarity", g.handle(g.similarity))
	stream.POST("/evaluations", g.handle(g.evaluate))

	ingest := e.Group("/v1", g.authorize(Ingest), g.limitRate, g.limitCaller, g.deadline)
	ingest.POST("/videos", g.handle(g.publish))
	ingest.DELETE("/videos/:id", g.handle(g.takeDown))

	open := e.Group("/", g.deadline)
	open.GET("/openapi.json", serveOpenAPI)
	for _, f := range ui.Files() {
		open.GET(f.Path, func(c *gin.Context) { c.Data(http.StatusOK, f.ContentType, f.Data) })
	}
	return e
}
