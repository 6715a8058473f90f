package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"videosim/client"
)

func dial(t *testing.T, h http.HandlerFunc, options ...client.Option) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := client.New(s.URL, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"urn:videosim:problem:x","title":"No","status":%d,"detail":"why","field":"k","missing_ids":["v9"],"request_id":"r"}`, status)
}

func TestRetries(t *testing.T) {
	for _, c := range []struct{ status, failures, calls int }{{429, 2, 3}, {503, 1, 2}, {503, 9, 3}, {400, 9, 1}, {500, 9, 1}, {404, 9, 1}, {502, 1, 2}, {504, 9, 1}} {
		var calls atomic.Int64
		keys := map[string]bool{}
		gateway := dial(t, func(w http.ResponseWriter, r *http.Request) {
			keys[r.Header.Get("Idempotency-Key")] = true
			if calls.Add(1) <= int64(c.failures) {
				refuse(w, c.status)
				return
			}
			fmt.Fprint(w, `{"id":"v1","sequence":7,"state":"queued"}`)
		}, client.WithTries(3))
		published, err := gateway.Publish(t.Context(), client.Video{ID: "v1"})
		if int(calls.Load()) != c.calls || len(keys) != 1 || keys[""] {
			t.Errorf("%d: %d calls under the keys %v, want %d under one", c.status, calls.Load(), keys, c.calls)
		}
		if c.failures < c.calls {
			if err != nil || published.Sequence != 7 {
				t.Errorf("%d: %v, %v", c.status, published, err)
			}
			continue
		}
		var problem *client.Problem
		if !errors.As(err, &problem) || problem.Status != c.status || problem.Field != "k" || problem.MissingIDs[0] != "v9" {
			t.Errorf("%d: %v is not the problem", c.status, err)
		}
	}
}

// Retry-After is honoured, and not waited for where the context ends before.
func TestRetryAfter(t *testing.T) {
	var calls atomic.Int64
	gateway := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			refuse(w, 429)
			return
		}
		fmt.Fprint(w, `{}`)
	})
	start := time.Now()
	if _, err := gateway.Video(t.Context(), "v1"); err != nil || time.Since(start) < time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	calls.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start = time.Now()
	var problem *client.Problem
	if _, err := gateway.Video(ctx, "v1"); !errors.As(err, &problem) || problem.Status != 429 || time.Since(start) > 250*time.Millisecond {
		t.Errorf("a short context: %v after %s", err, time.Since(start))
	}
}

// Retry-After may be a date; a 504 that is no problem is a proxy's.
func TestRetryAfterDate(t *testing.T) {
	var calls atomic.Int64
	gateway := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		switch calls.Add(1) {
		case 1:
			w.Header().Set("Retry-After", time.Now().Add(2*time.Second).UTC().Format(http.TimeFormat)) // whole seconds: at least one to go
			refuse(w, 503)
		case 2:
			http.Error(w, "a proxy", http.StatusGatewayTimeout)
		default:
			fmt.Fprint(w, `{}`)
		}
	})
	start := time.Now()
	if _, err := gateway.Video(t.Context(), "v1"); err != nil || calls.Load() != 3 || time.Since(start) < 900*time.Millisecond {
		t.Errorf("%d calls in %s: %v", calls.Load(), time.Since(start), err)
	}
}

// A try that hangs, or whose answer breaks off, is given up and made again.
func TestHangingTries(t *testing.T) {
	var calls atomic.Int64
	gateway := dial(t, func(w http.ResponseWriter, r *http.Request) {
		switch calls.Add(1) {
		case 1:
			<-r.Context().Done()
		case 2:
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"id":`)
		default:
			fmt.Fprint(w, `{"id":"v1"}`)
		}
	}, client.WithTimeout(200*time.Millisecond))
	if v, err := gateway.Video(t.Context(), "v1"); err != nil || v.ID != "v1" || calls.Load() != 3 {
		t.Errorf("%d calls: %+v, %v", calls.Load(), v, err)
	}
}

// Calls that follow each other, 16 at a time, share connections.
func TestConnectionsAreKept(t *testing.T) {
	var opened atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c, err := client.New(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	const callers, calls = 16, 50
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls {
				if _, err := c.Video(t.Context(), "v1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := opened.Load(); n > 2*callers {
		t.Errorf("%d connections for %d calls by %d callers", n, callers*calls, callers)
	}
}

func TestPages(t *testing.T) {
	gateway := dial(t, func(w http.ResponseWriter, r *http.Request) {
		var q client.Query
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%v %v", err, r.Header)
		}
		next := map[string]string{"": "b", "b": "c"}[q.PageToken]
		fmt.Fprintf(w, `{"results":[{"id":"1%s"},{"id":"2%s"}],"next_page_token":%q}`, q.PageToken, q.PageToken, next)
	}, client.WithKey("secret"))
	var found []string
	for r, err := range gateway.All(t.Context(), client.Query{Positive: []client.Input{client.ID("v1")}}) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, r.ID)
	}
	if got := strings.Join(found, " "); got != "1 2 1b 2b 1c 2c" {
		t.Errorf("walked %s", got)
	}
}

func TestPairs(t *testing.T) {
	broken := ""
	gateway := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "a\tb\t0.5\nc\td\t\n"+broken)
	})
	scores := func() (out []client.PairScore, failed error) {
		for s, err := range gateway.Pairs(t.Context(), strings.NewReader("a\tb\nc\td\n")) {
			if err != nil {
				return out, err
			}
			out = append(out, s)
		}
		return out, nil
	}
	got, err := scores()
	if err != nil || len(got) != 2 || *got[0].Cosine != 0.5 || got[1].Cosine != nil || got[1].B != "d" {
		t.Errorf("%v %v", got, err)
	}
	broken = "#error\turn:videosim:problem:invalid\tline 3\n"
	var problem *client.Problem
	if _, err := scores(); !errors.As(err, &problem) || problem.Type != "urn:videosim:problem:invalid" {
		t.Errorf("a broken stream: %v", err)
	}
}

func TestNoProblem(t *testing.T) {
	gateway := dial(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>a proxy", http.StatusBadGateway) }, client.WithTries(1))
	var problem *client.Problem
	if _, err := gateway.Video(t.Context(), "v"); !errors.As(err, &problem) || problem.Status != 502 || !strings.Contains(problem.Detail, "a proxy") {
		t.Errorf("%v", err)
	}
	for _, base := range []string{"", "localhost:8080", "ftp://x", "http://"} {
		if _, err := client.New(base); err == nil {
			t.Errorf("%q is taken for an address", base)
		}
	}
}

func Example() {
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"results":[{"id":"v2","score":0.93,"title":"红烧肉的做法"}],"model":"3f9a1c0b77de","indexed_sequence":7,"missing_ids":[]}`)
	}))
	defer gateway.Close()
	c, err := client.New(gateway.URL)
	if err != nil {
		panic(err)
	}
	page, err := c.Similar(context.Background(), client.Query{Positive: []client.Input{client.ID("v1")}, K: 1})
	if err != nil {
		panic(err)
	}
	fmt.Println(page.Results[0].ID, page.Results[0].Score)
	// Output: v2 0.93
}

// What any query of a batch demands, the batch demands.
func TestBatchDemands(t *testing.T) {
	t.Parallel()
	var got map[string]any
	gateway := dial(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, `{"answers":[]}`)
	})
	queries := []client.Query{{K: 1}, {MinSequence: 7, WaitMS: 50}, {MinSequence: 9, WaitMS: 5, Model: "m"}, {Model: "m"}}
	if _, err := gateway.SimilarBatch(t.Context(), queries...); err != nil || got["min_sequence"] != 9.0 || got["wait_ms"] != 50.0 || got["model"] != "m" {
		t.Errorf("sent %v (%v)", got, err)
	}
	got = nil
	queries[3].Model = "n"
	if _, err := gateway.SimilarBatch(t.Context(), queries...); err == nil || got != nil {
		t.Errorf("two models in one batch: sent %v (%v)", got, err)
	}
}
