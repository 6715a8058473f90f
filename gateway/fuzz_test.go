package gateway

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

// FuzzBodies sends any bytes to every call that takes a body: no answer may be
// the server's fault, every refusal is a problem, every answer JSON.
func FuzzBodies(f *testing.F) {
	paths := []string{"/v1/similar", "/v1/similar/batch", "/v1/similarity", "/v1/embeddings", "/v1/videos", "/v1/evaluations"}
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `{"positive":null}`, `{"positive":["v1"],"negative":[{"id":"v2"}],"k":5,"filter":{"category_ids":[1],"published_after":"2025-03-01T00:00:00Z"},"min_score":0.5,"exclude":["v3"],"diversity":0.5,"on_missing":"skip"}`,
		`{"positive":[{"video":{"title":"x","asr_text":"y","frames":{"dim":4,"count":1,"data":"AAAAAAAAAAA="}}}]}`,
		`{"positive":[{"embedding":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1e-45]}]}`, `{"positive":[{"embedding":[1e308]}]}`,
		`{"queries":[{"positive":["v1"]},{}]}`, `{"pairs":[["v1","v2"],[{"video":{"title":"x"}},"v1"]]}`, `{"videos":[{"title":"x"}]}`,
		`{"id":"v9","title":"x","published_at":"9999-12-31T23:59:59Z","tag_ids":["1",2]}`, "v1\tv2\t0.5\n", "v1\tv2\n\nv1\tnobody\t1\n", "\xef\xbb\xbfa\tb", "\xff\xfe{}",
		`{"min_sequence":18446744073709551615,"positive":["v1"]}`, `{"positive":["v1"],"page_token":"AAAA"}`,
	} {
		for i := range paths {
			f.Add(uint8(i), []byte(body))
		}
	}
	r := newRig(f)
	r.fill(10)
	r.log = slog.New(slog.DiscardHandler) // a fuzz target may not log to its parent
	handler := r.routes()
	f.Fuzz(func(t *testing.T, path uint8, body []byte) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost"+paths[int(path)%len(paths)], bytes.NewReader(body))
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		res := rec.Result()
		if res.StatusCode >= 500 && res.StatusCode != http.StatusGatewayTimeout {
			t.Fatalf("%d: %s", res.StatusCode, rec.Body)
		}
		if res.StatusCode >= 400 {
			var p Problem
			if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || p.Status != res.StatusCode || res.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("no problem: %v %s", err, rec.Body)
			}
			return
		}
		if res.Header.Get("Content-Type") == "application/json" && !json.Valid(rec.Body.Bytes()) {
			t.Fatalf("not JSON: %s", rec.Body)
		}
	})
}

// FuzzQueryString does the same to query strings and paths.
func FuzzQueryString(f *testing.F) {
	for _, s := range []string{"", "k=5", "k=-1&tag=1,2", "category=,&exclude=a,b", "published_after=2025-03-01T00:00:00Z", "min_score=1e400", "%zz", "page_token=%00", "wait_ms=9223372036854775807&min_sequence=1", "a;b=c", "modalities=maybe"} {
		f.Add("v1", s)
	}
	f.Add("a/b%2F", "k=1")
	f.Add("\xff", "")
	r := newRig(f, func(c *Config) { c.Timeout = 50e6 }) // 50 ms: a demanded sequence never comes
	r.fill(10)
	r.log = slog.New(slog.DiscardHandler) // a fuzz target may not log to its parent
	handler := r.routes()
	f.Fuzz(func(t *testing.T, id, query string) {
		for _, tail := range []string{"", "/similar", "/explain/v2"} {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/v1/videos/x", nil)
			req.URL.Path, req.URL.RawQuery = "/v1/videos/"+id+tail, query
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, req)
			if rec.Code >= 500 && rec.Code != http.StatusGatewayTimeout {
				t.Fatalf("%s: %d: %s", tail, rec.Code, rec.Body)
			}
		}
	})
}
