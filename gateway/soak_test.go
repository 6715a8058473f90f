package gateway

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
)

// soakRequests is how many requests the soak sends: few in an ordinary test
// run, VIDEOSIM_SOAK of them with make soak.
func soakRequests(t *testing.T) int {
	text := os.Getenv("VIDEOSIM_SOAK")
	if text == "" {
		return 2_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("VIDEOSIM_SOAK: %v", err)
	}
	return n
}

// soakBodies are requests that are right, to be spoiled.
var soakBodies = map[string][]string{
	"/v1/similar": {
		`{"positive":["v1",{"id":"v2"}],"negative":[{"video":{"title":"x","asr_text":"y"}}],"k":5,"filter":{"category_ids":[1,2],"tag_ids":[3],"published_after":"2025-03-01T00:00:00Z","published_before":"2026-03-01T00:00:00Z"},"min_score":0.5,"exclude":["v3"],"diversity":0.5,"on_missing":"skip","min_sequence":1,"wait_ms":0}`,
		`{"positive":[{"embedding":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0.5]}],"k":1000}`,
	},
	"/v1/similar/batch": {`{"queries":[{"positive":["v1"]},{"positive":["v2"],"k":3,"diversity":1}],"min_sequence":1,"wait_ms":1}`},
	"/v1/similarity":    {`{"pairs":[["v1","v2"],[{"video":{"title":"x"}},"nobody"]]}`, "v1\tv2\t0.5\nv3\tnobody\n"},
	"/v1/evaluations":   {"v1\tv2\t0.5\nv3\tv4\t1\nv5\tv6\t0\n"},
	"/v1/embeddings":    {`{"videos":[{"title":"x","frames":{"dim":4,"count":1,"data":"AAAAAAAAAAA="}},{"id":"y","asr_text":"z"}]}`},
	"/v1/videos":        {`{"id":"v9","title":"x","asr_text":"y","category_id":"7","tag_ids":["1",2],"published_at":"2025-03-01T00:00:00Z","thumbnail_url":"https://x.example/y.jpg"}`},
}

// odd are what takes the place of a value or a parameter.
var odd = []string{
	`null`, `true`, `-1`, `0`, `1e400`, `-1e-400`, `18446744073709551616`, `9223372036854775808`, `1.5`, `NaN`, `Infinity`, `""`, `"\u0000"`, `"\ud800"`, `"../../etc/passwd"`,
	`"v1' or 1==1"`, `[]`, `{}`, `[[[[[[]]]]]]`, `{"id":"v1","id":"v2"}`, `"9999-99-99"`, `"` + strings.Repeat("猫", 700) + `"`, strings.Repeat("[", 300), `v1`, `%00`, `"v1"`,
}

// spoil changes a text at one to four places.
func spoil(rng *rand.Rand, text string) string {
	for range 1 + rng.IntN(4) {
		i := rng.IntN(len(text) + 1)
		j := min(len(text), i+rng.IntN(8))
		switch rng.IntN(6) {
		case 0:
			text = text[:i] + text[j:]
		case 1:
			text = text[:i] + string([]byte{byte(rng.Uint32())}) + text[i:]
		case 2:
			text = text[:i] + text[min(i, len(text)/2):j] + text[i:]
		case 3:
			text = text[:i] + odd[rng.IntN(len(odd))] + text[i:]
		default: // a whole value behind a colon or a comma
			if at := strings.IndexAny(text[i:], ":,"); at >= 0 {
				from := i + at + 1
				to := from + max(0, strings.IndexAny(text[from:]+",", ",]}"))
				text = text[:from] + odd[rng.IntN(len(odd))] + text[min(to, len(text)):]
			}
		}
	}
	return text
}

// soakRequest makes one request, spoiled or nearly right.
func soakRequest(rng *rand.Rand, paths []string) (*http.Request, string) {
	method, target, body := http.MethodPost, paths[rng.IntN(len(paths))], ""
	switch rng.IntN(4) {
	case 0: // a query string
		method = http.MethodGet
		names := []string{"k", "category", "tag", "published_after", "published_before", "min_score", "exclude", "diversity", "page_token", "min_sequence", "wait_ms", "modalities", "points", "sample", "x"}
		values := url.Values{}
		for range rng.IntN(4) {
			values.Add(names[rng.IntN(len(names))], spoil(rng, []string{"1", "0.5", "2025-03-01T00:00:00Z", "true", "v1,v2"}[rng.IntN(5)]))
		}
		if values.Get("wait_ms") != "" {
			values.Set("wait_ms", "1")
		}
		target = []string{"/v1/videos/v1/similar", "/v1/videos/v1", "/v1/videos/v1/explain/v2", "/v1/videos/" + url.PathEscape(spoil(rng, "v1")), "/v1/map", "/openapi.json"}[rng.IntN(6)] + "?" + values.Encode()
	default:
		bodies := soakBodies[target]
		if body = bodies[rng.IntN(len(bodies))]; rng.IntN(8) > 0 {
			body = spoil(rng, body)
		}
	}
	if rng.IntN(20) == 0 {
		method = []string{"PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"}[rng.IntN(6)]
	}
	req := httptest.NewRequest(method, "http://localhost"+target, strings.NewReader(body))
	if rng.IntN(3) == 0 {
		headers := []string{"Content-Type", "Idempotency-Key", "X-Request-Id", "Traceparent", "Authorization", "Accept", "Origin", "Content-Encoding"}
		req.Header.Set(headers[rng.IntN(len(headers))], spoil(rng, []string{"application/json", tsv, "application/protobuf", "null", "a"}[rng.IntN(5)]))
	}
	return req, body
}

// TestSoak: no request is answered with a 5xx other than the 504 that it asks
// for, none ends in a panic, and every refusal is a problem.
func TestSoak(t *testing.T) {
	r := newRig(t)
	r.fill(30)
	var log lockedBuffer
	r.log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	handler := r.routes()
	var paths []string
	for p := range soakBodies {
		paths = append(paths, p)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	statuses := map[int]int{}
	n := soakRequests(t)
	for range n {
		req, body := soakRequest(rng, paths)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		statuses[rec.Code]++
		switch {
		case rec.Code >= 500 && rec.Code != http.StatusGatewayTimeout:
			t.Fatalf("%s %s %q: %d: %s\n%s", req.Method, req.URL, body, rec.Code, rec.Body, log.String())
		case rec.Code >= 400 && req.Method != http.MethodHead:
			var p Problem
			if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || p.Status != rec.Code || p.Type == "" {
				t.Fatalf("%s %s %q: %d is no problem: %s", req.Method, req.URL, body, rec.Code, rec.Body)
			}
		}
	}
	t.Logf("%d requests, by status: %v", n, fmt.Sprint(statuses))
	if log.String() != "" {
		t.Errorf("errors in the log:\n%s", log.String())
	}
	if statuses[200] < n/50 || statuses[400] < n/10 {
		t.Errorf("statuses %v: hardly any request gets through, or is refused", statuses)
	}
}
