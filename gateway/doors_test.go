package gateway

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

func withKeys(c *Config) {
	c.Keys = Keys{
		{Name: "reader", Hash: HashKey("r-secret"), Scopes: []Scope{Query}},
		{Name: "writer", Hash: HashKey("w-secret"), Scopes: []Scope{Ingest}},
		{Name: "boss", Hash: HashKey("b-secret"), Scopes: []Scope{Admin}},
		{Name: "reader", Hash: HashKey("r-next"), Scopes: []Scope{Query}},
	}
}

func TestKeys(t *testing.T) {
	r := newRig(t, withKeys)
	r.fill(10)
	const ask, drop = "/v1/videos/v1/similar", "/v1/videos/v1"
	for _, c := range []struct {
		method, path, key string
		status            int
		problem           string
	}{
		{"GET", ask, "", 401, "unauthorized"}, {"GET", ask, "wrong", 401, "unauthorized"}, {"GET", ask, "w-secret", 403, "forbidden"},
		{"GET", ask, "r-secret", 200, ""}, {"GET", ask, "r-next", 200, ""}, {"GET", ask, "b-secret", 200, ""},
		{"DELETE", drop, "r-secret", 403, "forbidden"}, {"DELETE", drop, "w-secret", 202, ""}, {"DELETE", drop, "b-secret", 202, ""},
		{"POST", "/v1/similarity", "", 401, "unauthorized"}, {"POST", "/v1/evaluations", "w-secret", 403, "forbidden"},
	} {
		var headers []string
		if c.key != "" {
			headers = []string{"Authorization", "Bearer " + c.key}
		}
		got := r.call(c.method, c.path, "", headers...)
		if c.problem == "" {
			got.want(c.status)
			continue
		}
		got.problem(c.status, c.problem, "")
		if c.status == 401 && got.header.Get("WWW-Authenticate") == "" {
			t.Error("401 without WWW-Authenticate")
		}
	}
	r.call("GET", ask, "", "X-Api-Key", "r-secret").want(200)
	r.call("GET", "/openapi.json", "").want(200)
}

func TestConfigDoors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		field  string // empty: accepted
	}{
		{"loopback", func(*Config) {}, ""},
		{"loopback by name", func(c *Config) { c.Listen = "localhost:0" }, ""},
		{"IPv6 loopback", func(c *Config) { c.Listen = "[::1]:0" }, ""},
		{"everywhere", func(c *Config) { c.Listen = ":8080" }, "listen"},
		{"everywhere by number", func(c *Config) { c.Listen = "0.0.0.0:8080" }, "listen"},
		{"another name", func(c *Config) { c.Listen = "gateway:8080" }, "listen"},
		{"everywhere with keys", func(c *Config) { c.Listen = ":8080"; withKeys(c) }, ""},
		{"everywhere on purpose", func(c *Config) { c.Listen = ":8080"; c.InsecureNoKeys = true }, ""},
		{"no port", func(c *Config) { c.Listen = "127.0.0.1" }, "listen"},
		{"hash", func(c *Config) { c.Keys = Keys{{"a", "123", []Scope{Query}}} }, "keys[0].hash"},
		{"scope", func(c *Config) { c.Keys = Keys{{"a", HashKey("x"), []Scope{"root"}}} }, "keys[0].scopes"},
		{"no scope", func(c *Config) { c.Keys = Keys{{"a", HashKey("x"), nil}} }, "keys[0].scopes"},
		{"no name", func(c *Config) { c.Keys = Keys{{"", HashKey("x"), []Scope{Query}}} }, "keys[0].name"},
		{"half a certificate", func(c *Config) { c.TLSCert = "x" }, "tls-cert"},
		{"no bundle", func(c *Config) { c.Bundle = "" }, "bundle"},
		{"negative rate", func(c *Config) { c.RateLimit = -1 }, "rate-limit"},
		{"no slots", func(c *Config) { c.MaxInFlight = 0 }, "max-in-flight"},
		{"no time", func(c *Config) { c.Timeout = 0 }, "timeout"},
		{"index", func(c *Config) { c.Index.Kind = "faiss" }, "index"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig()
			c.change(&cfg)
			if got := errs.FieldOf(cfg.Validate()); got != c.field {
				t.Errorf("field %q, want %q (%v)", got, c.field, cfg.Validate())
			}
		})
	}
}

func TestRateLimit(t *testing.T) {
	r := newRig(t, withKeys, func(c *Config) { c.RateLimit, c.RateBurst = 0.5, 3 })
	r.fill(10)
	const ask = "/v1/videos/v1/similar"
	for range 3 {
		r.call("GET", ask, "", "X-Api-Key", "r-secret").want(200)
	}
	got := r.call("GET", ask, "", "X-Api-Key", "r-secret").problem(429, "rate-limited", "")
	if wait, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || wait < 1 || wait > 2 {
		t.Errorf("Retry-After %q, want 1 or 2 seconds", got.header.Get("Retry-After"))
	}
	r.call("GET", ask, "", "X-Api-Key", "r-next").problem(429, "rate-limited", "") // the same caller
	r.call("GET", ask, "", "X-Api-Key", "b-secret").want(200)                      // another
}

func TestInFlightLimit(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxInFlight = 1 })
	r.fill(10)
	begun, end := make(chan struct{}), make(chan struct{})
	handler := func(ctx context.Context, req *event.EmbedRequest) *event.EmbedReply {
		close(begun)
		<-end
		return embedTitles(ctx, req)
	}
	r.lane.Store((*busEmbedHandler)(&handler))
	first := make(chan reply)
	go func() { first <- r.call("POST", "/v1/similar", `{"positive":[{"video":{"title":"x"}}]}`) }()
	<-begun
	if got := r.call("GET", "/v1/videos/v1/similar", "").problem(429, "overloaded", ""); got.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	close(end)
	(<-first).want(200)
}

func TestLimitsOfRequests(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxBodyBytes = 1000 })
	r.call("POST", "/v1/similar", `{"positive":["`+strings.Repeat("x", 2000)+`"]}`).problem(413, "too-large", "")
	r.call("GET", "/v1/nothing", "").problem(404, "not-found", "")
	r.call("PUT", "/v1/similar", "{}").problem(405, "method-not-allowed", "")
	r.call("GET", "/v1/videos/"+strings.Repeat("x", 65)+"/similar", "").problem(400, "invalid", "id")
}

func TestBrowsersOfOtherSites(t *testing.T) {
	r := newRig(t)
	r.fill(3)
	r.call("DELETE", "/v1/videos/v1", "", "Sec-Fetch-Site", "cross-site").problem(403, "cross-origin", "")
	r.call("POST", "/v1/videos", `{"id":"x","title":"x"}`, "Origin", "https://elsewhere.example").problem(403, "cross-origin", "")
	r.call("DELETE", "/v1/videos/v1", "", "Sec-Fetch-Site", "same-origin").want(202)
	got := r.call("GET", "/", "").want(200)
	for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
		if got.header.Get(header) != want {
			t.Errorf("%s: %q, want %q", header, got.header.Get(header), want)
		}
	}
	if csp := got.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
}

// brokenIndex panics where it is asked.
type brokenIndex struct{ vecdb.Index }

func (brokenIndex) Search(context.Context, vecdb.Query) ([]vecdb.Hit, error) { panic("a bug") }

func TestPanicIsAProblem(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	r.engine.Index = brokenIndex{r.index}
	got := r.call("GET", "/v1/videos/v1/similar", "", "X-Request-Id", "my-call").problem(500, "internal", "")
	if got.value["request_id"] != "my-call" || got.header.Get("X-Request-Id") != "my-call" {
		t.Errorf("request id: %s", got.body)
	}
	if bytes.Contains(got.body, []byte("a bug")) {
		t.Errorf("the answer shows the inside: %s", got.body)
	}
	got = r.call("POST", "/v1/similar/batch", `{"queries":[{"positive":["v1"]}]}`).want(200)
	if !bytes.Contains(got.body, []byte(problemPrefix+"internal")) {
		t.Errorf("batch: %s", got.body)
	}
	r.call("GET", "/openapi.json", "").want(http.StatusOK)
}
