package gateway

import (
	_ "embed" // for the document
	"net/http"

	"github.com/gin-gonic/gin"
)

// openAPI describes every call. It is kept by hand and checked by the tests
// against the routes and against real answers.
//
//go:embed openapi.json
var openAPI []byte

func serveOpenAPI(c *gin.Context) { c.Data(http.StatusOK, "application/json", openAPI) }
