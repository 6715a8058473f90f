package service

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := http.Client{Timeout: testPatience}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func TestAdminPages(t *testing.T) {
	env := NewTestEnv(t)
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "videosim_test_things_total", Help: "Things."})
	env.Metrics.MustRegister(counter)
	counter.Add(3)
	server := httptest.NewServer(env.Admin.Handler())
	defer server.Close()
	for path, want := range map[string]string{
		"/livez":                    "ok",
		"/metrics":                  "videosim_test_things_total 3",
		"/debug/pprof/":             "goroutine",
		"/debug/pprof/heap?debug=1": "heap profile",
	} {
		if status, body := fetch(t, server.URL+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, lacks %q", path, status, want)
		}
	}
	if _, body := fetch(t, server.URL+"/metrics"); !strings.Contains(body, "go_goroutines") || !strings.Contains(body, "process_open_fds") {
		t.Error("no metrics of Go or the process")
	}
}

// TestReadinessNamesWhatIsMissing: each failing check by name and reason.
func TestReadinessNamesWhatIsMissing(t *testing.T) {
	env := NewTestEnv(t)
	server := httptest.NewServer(env.Admin.Handler())
	defer server.Close()
	ask := func() (int, readiness) {
		t.Helper()
		status, body := fetch(t, server.URL+"/readyz")
		var r readiness
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return status, r
	}
	if status, r := ask(); status != http.StatusServiceUnavailable || r.Ready {
		t.Errorf("before anything has started: %d %+v", status, r)
	}
	env.Admin.Ready("nats", func(context.Context) error { return nil })
	env.Admin.Ready("index", func(context.Context) error { return errTest })
	want := []checkResult{{Name: "nats", Ready: true}, {Name: "index", Reason: "test"}}
	if status, r := ask(); status != http.StatusServiceUnavailable || r.Ready || !slices.Equal(r.Checks, want) {
		t.Errorf("%d %+v", status, r)
	}
	env.Admin.Starting("index")
	want[1].Reason = "starting"
	if status, r := ask(); status != http.StatusServiceUnavailable || !slices.Equal(r.Checks, want) {
		t.Errorf("connected, but starting: %d %+v", status, r)
	}
	env.Admin.Ready("index", func(context.Context) error { return nil })
	if status, r := ask(); status != http.StatusOK || !r.Ready || len(r.Checks) != 2 {
		t.Errorf("started: %d %+v", status, r)
	}
}

// TestReadinessIsCached: many probes cost one round of checks.
func TestReadinessIsCached(t *testing.T) {
	var c checks
	var calls atomic.Int64
	c.set("x", func(context.Context) error { calls.Add(1); return nil })
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if !c.report().Ready {
				t.Error("not ready")
			}
		})
	}
	all.Wait()
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
	c.at = c.at.Add(-reportAge)
	c.report()
	if calls.Load() != 2 {
		t.Errorf("%d calls after the answer aged", calls.Load())
	}
	c.set("y", func(context.Context) error { return errTest })
	if c.report().Ready {
		t.Error("a new check waits for the old answer to age")
	}
}

// TestStuckCheck: one that ignores its deadline makes the process not ready,
// and is not called a second time while it hangs.
func TestStuckCheck(t *testing.T) {
	var c checks
	var calls atomic.Int64
	release := make(chan struct{})
	c.set("stuck", func(context.Context) error { calls.Add(1); <-release; return nil })
	began := time.Now()
	first := c.report()
	if took := time.Since(began); took > checkTimeout+time.Second || first.Checks[0].Reason != errNoAnswer.Error() {
		t.Errorf("%v %+v", took, first)
	}
	c.at = time.Time{}
	if second := c.report(); second.Ready || calls.Load() != 1 {
		t.Errorf("%+v after %d calls", second, calls.Load())
	}
	close(release)
	deadline := time.Now().Add(testPatience)
	for !c.report().Ready {
		if time.Now().After(deadline) {
			t.Fatal("never ready again")
		}
		c.at = time.Time{}
	}
}
