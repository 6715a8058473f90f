package gateway

import (
	"fmt"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"videosim/gateway/query"
)

// serverTiming sets the header of that name, which browsers show beside the
// call: the parts that took place and the whole up to now, in milliseconds.
func serverTiming(c *gin.Context) {
	var b strings.Builder
	for part, took := range query.TimingsOf(c.Request.Context()).All() {
		fmt.Fprintf(&b, "%s;dur=%.3f, ", part, took.Seconds()*1000)
	}
	fmt.Fprintf(&b, "total;dur=%.3f", time.Since(c.GetTime(keyStart)).Seconds()*1000)
	c.Header("Server-Timing", b.String())
}
