package gateway

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// knownHost refuses a call that was meant for another name. A page anywhere
// can make its own name resolve to 127.0.0.1 (DNS rebinding); its reader's
// browser then takes this gateway for that page's own server, and no other
// check sees a stranger.
func (g *server) knownHost(c *gin.Context) {
	if !g.cfg.answersTo(c.Request.Host) {
		g.fail(c, refuse("unknown-host", http.StatusMisdirectedRequest,
			fmt.Sprintf("this gateway does not answer to the host %.80q; the setting hosts names those it does", c.Request.Host)))
	}
}

// answersTo reports whether a Host header may name this gateway. An address
// always may: no name was resolved to get here.
func (c Settings) answersTo(header string) bool {
	listen, _, _ := net.SplitHostPort(c.Listen) // validated
	if len(c.Hosts) == 0 && !loopback(listen) {
		return true
	}
	host := hostName(header)
	return net.ParseIP(host) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		slices.ContainsFunc(c.Hosts, func(known string) bool { return strings.EqualFold(known, host) })
}

// hostName is a Host header without its port and the brackets of IPv6.
func hostName(header string) string {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = header
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
