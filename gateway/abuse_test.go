package gateway

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"videosim/shared/vecdb"
)

// dial opens a connection that the test ends.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A header larger than the limit, in one line or in many, is refused before
// it is all in memory.
func TestHugeHeaders(t *testing.T) {
	address := serveRig(t, newRig(t))
	for name, line := range map[string]string{"one line": "X-Huge: " + strings.Repeat("x", 1<<20), "many lines": strings.Repeat("X-Many: yyyyyyyyyyyyyyyyyyyyyyyy\r\n", 1<<15)} {
		conn := dial(t, address)
		go func() {
			_, _ = io.WriteString(conn, "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n"+line+"\r\n\r\n")
		}() // cut off in the middle
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %v (%v), want 431", name, res, err)
		}
	}
}

// A caller that asks for much and reads nothing holds its slot for the
// deadline and answerGrace, not for ever.
func TestSlowReadersAreCutOff(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Timeout = 300 * time.Millisecond })
	records := make([]vecdb.Record, 1000)
	for i := range records {
		records[i] = vecdb.Record{ID: fmt.Sprintf("v%d", i), Embedding: vectorOf(fmt.Sprint(i)), Title: strings.Repeat("title ", 2000), Sequence: uint64(i + 1)}
	}
	if err := r.index.Upsert(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, serveRig(t, r)) // an answer of 12 MB does not fit into the buffers between
	start := time.Now()
	fmt.Fprint(conn, "GET /v1/videos/v1/similar?k=900 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	for len(r.slots) == 0 {
		if time.Since(start) > 5*time.Second {
			t.Fatal("the call is not at work: the test proves nothing")
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(2 * time.Second)
	if len(r.slots) == 0 {
		t.Fatal("the answer has left without being read: the test proves nothing")
	}
	for len(r.slots) > 0 {
		if time.Since(start) > 300*time.Millisecond+answerGrace+3*time.Second {
			t.Fatalf("the slot is held for %s", time.Since(start))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A caller that opens a TLS connection and says nothing is hung up on.
func TestSilentTLSCallersAreCutOff(t *testing.T) {
	cert, key := issue(t, t.TempDir(), "server", 1)
	r := newRig(t, func(c *Config) { c.TLSCert, c.TLSKey, c.HeaderTimeout = cert, key, 300*time.Millisecond })
	address := serveRig(t, r)
	conn, start := dial(t, address), time.Now()
	if _, err := conn.Read(make([]byte, 1)); err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("hung up after %s (%v), want at once after 300 ms", time.Since(start), err)
	}
	for name, c := range map[string]struct {
		protocols []string
		version   uint16
		want      int // of HTTP; 0: no connection
	}{"HTTP/2": {[]string{"h2"}, tls.VersionTLS13, 2}, "HTTP/1": {[]string{"http/1.1"}, tls.VersionTLS12, 1}, "TLS 1.1": {[]string{"h2"}, tls.VersionTLS11, 0}} {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, NextProtos: c.protocols, MinVersion: tls.VersionTLS10, MaxVersion: c.version}} //nolint:gosec // the certificate is not what is tested
		if c.want == 1 {
			transport.ForceAttemptHTTP2 = false
		}
		res, err := (&http.Client{Transport: transport}).Get("https://" + address + "/openapi.json")
		switch {
		case err != nil && c.want == 0:
		case err != nil || c.want == 0:
			t.Errorf("%s: %v (%v)", name, res, err)
		default:
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode != 200 || res.ProtoMajor != c.want {
				t.Errorf("%s: %s by %s", name, res.Status, res.Proto)
			}
		}
		transport.CloseIdleConnections()
	}
}

// Every answer tells browsers how to hold it: refusals, the page and JSON
// alike.
func TestHeadersOfEveryAnswer(t *testing.T) {
	r := newRig(t, withKeys, func(c *Config) { c.RateLimit, c.RateBurst = 0.001, 1 })
	r.fill(3)
	boss := []string{"X-Api-Key", "b-secret"}
	for _, c := range []struct {
		method, path string
		headers      []string
		status       int
	}{
		{"GET", "/", nil, 200}, {"GET", "/openapi.json", nil, 200}, {"GET", "/nothing", nil, 404}, {"PUT", "/v1/similar", nil, 405},
		{"GET", "/v1/videos/v1/similar", nil, 401}, {"GET", "/v1/videos/v1/similar", []string{"X-Api-Key", "w-secret"}, 403},
		{"GET", "/v1/videos/v1/similar", boss, 200}, {"GET", "/v1/videos/v1/similar", boss, 429},
		{"GET", "/v1/videos/v1/similar", []string{"X-Api-Key", "r-secret", "Videosim-Timeout-Ms", "x"}, 400},
		{"DELETE", "/v1/videos/v1", []string{"X-Api-Key", "w-secret", "Sec-Fetch-Site", "cross-site"}, 403},
	} {
		got := r.call(c.method, c.path, "", c.headers...).want(c.status)
		for _, header := range []string{"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy",
			"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Cache-Control", "X-Request-Id"} {
			if got.header.Get(header) == "" {
				t.Errorf("%s %s, %d: no %s", c.method, c.path, c.status, header)
			}
		}
		if got.header.Get("Server") != "" || got.header.Get("Access-Control-Allow-Origin") != "" || got.header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s %s: headers %v", c.method, c.path, got.header)
		}
	}
}

// A noisy key uses up its own bucket and no other's, under load and from many
// clients at once.
func TestNoisyKeysDoNotEmptyOthersBuckets(t *testing.T) {
	r := newRig(t, withKeys, func(c *Config) { c.RateLimit, c.RateBurst = 20, 20 })
	r.fill(3)
	ended := make(chan int, 4)
	for range cap(ended) {
		go func() {
			passed := 0
			for range 100 {
				if status(t, r.url, "r-secret") == http.StatusOK {
					passed++
				}
			}
			ended <- passed
		}()
	}
	start := time.Now()
	for range 15 { // within the quiet one's burst
		if got := status(t, r.url, "b-secret"); got != http.StatusOK {
			t.Errorf("the quiet key is answered %d", got)
		}
	}
	passed := 0
	for range cap(ended) {
		passed += <-ended
	}
	if most := 20 + int(20*time.Since(start).Seconds()) + 1; passed < 20 || passed > most {
		t.Errorf("%d of 400 calls of the noisy key passed, want 20 to %d", passed, most)
	}
}

// status asks for what is similar to v1 with a key.
func status(t *testing.T, url, key string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/videos/v1/similar", nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("X-Api-Key", key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
