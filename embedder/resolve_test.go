package embedder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// store is an object store in a map.
type store map[string][]byte

func (s store) Object(_ context.Context, bucket, key string, maxBytes int) ([]byte, error) {
	data, ok := s[bucket+"/"+key]
	if !ok {
		return nil, errs.New(errs.NotFound, "no object %s in %s", key, bucket)
	}
	return data, nil
}

func refTo(address string, data []byte) *event.Frames {
	sum := sha256.Sum256(data)
	return &event.Frames{Ref: address, Sha256: hex.EncodeToString(sum[:])}
}

func resolverFor(t *testing.T, allow ...string) *resolver {
	t.Helper()
	cfg := RefConfig{Allow: allow, MaxBytes: 1000, Timeout: time.Second, Parallel: 2}
	r, err := newResolver(cfg, store{"frames/a/b": []byte("object")})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFetch(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	for name, data := range map[string]string{filepath.Join(dir, "f16"): "file", outside: "secret"} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v/ok", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("http")) })
	mux.HandleFunc("/v/big", func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte("x"), 1001)) })
	mux.HandleFunc("/v/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/private", http.StatusFound) })
	mux.HandleFunc("/v/near", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/v/ok", http.StatusFound) })
	mux.HandleFunc("/v/down", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/v/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/private", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("http")) })
	server := httptest.NewServer(mux)
	defer server.Close()
	r := resolverFor(t, "objectstore:frames", server.URL+"/v/", "file://"+dir)
	r.cfg.Timeout = 200 * time.Millisecond

	for _, c := range []struct {
		name, ref, data string
		kind            errs.Kind
		ok              bool
	}{
		{"object", "objectstore:frames/a/b", "object", 0, true},
		{"no such object", "objectstore:frames/a/c", "object", errs.NotFound, false},
		{"other bucket", "objectstore:secrets/a/b", "object", errs.Invalid, false},
		{"file", "file://" + dir + "/f16", "file", 0, true},
		{"no such file", "file://" + dir + "/f17", "file", errs.NotFound, false},
		{"file elsewhere", "file://" + outside, "secret", errs.Invalid, false},
		{"file by dots", "file://" + dir + "/../x", "secret", errs.Invalid, false},
		{"file by link", "file://" + dir + "/link", "secret", errs.Invalid, false},
		{"http", server.URL + "/v/ok", "http", 0, true},
		{"redirect inside", server.URL + "/v/near", "http", 0, true},
		{"redirect outside", server.URL + "/v/away", "http", errs.Invalid, false},
		{"http elsewhere", server.URL + "/private", "http", errs.Invalid, false},
		{"prefix is no folder", server.URL + "/vv", "http", errs.Invalid, false},
		{"encoded dots", server.URL + "/v/%2e%2e/private", "http", errs.Invalid, false},
		{"password", strings.Replace(server.URL, "//", "//a:b@", 1) + "/v/ok", "http", errs.Invalid, false},
		{"missing", server.URL + "/v/none", "http", errs.NotFound, false},
		{"too large", server.URL + "/v/big", strings.Repeat("x", 1001), errs.Invalid, false},
		{"server down", server.URL + "/v/down", "http", errs.Unavailable, false},
		{"server slow", server.URL + "/v/slow", "http", errs.Unavailable, false},
		{"other bytes", server.URL + "/v/ok", "not these", errs.Corrupt, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := r.fetch(t.Context(), refTo(c.ref, []byte(c.data)))
			switch {
			case c.ok && (err != nil || string(got) != c.data):
				t.Errorf("got %q, %v; want %q", got, err, c.data)
			case !c.ok && (err == nil || errs.KindOf(err) != c.kind):
				t.Errorf("got %q, %v of kind %s; want kind %s", got, err, errs.KindOf(err), c.kind)
			}
		})
	}
}

func TestNothingIsFetchedByDefault(t *testing.T) {
	r := resolverFor(t)
	for _, ref := range []string{"file:///etc/passwd", "http://169.254.169.254/latest", "objectstore:frames/a/b"} {
		if _, err := r.fetch(t.Context(), refTo(ref, nil)); errs.KindOf(err) != errs.Invalid || errs.FieldOf(err) != "frames.ref" {
			t.Errorf("%s: %v, want refused at frames.ref", ref, err)
		}
	}
}

func TestFetchesAreBounded(t *testing.T) {
	release := make(chan struct{})
	busy := make(chan struct{}, 10)
	var hosts []string
	for range 3 {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			busy <- struct{}{}
			<-release
			w.Write([]byte("x"))
		}))
		defer server.Close()
		hosts = append(hosts, server.URL)
	}
	r := resolverFor(t, hosts...) // Parallel: 2
	done := make(chan error, 6)
	for i := range 6 {
		go func() {
			_, err := r.fetch(t.Context(), refTo(hosts[i%3]+"/x", []byte("x")))
			done <- err
		}()
	}
	<-busy
	<-busy
	select {
	case <-busy:
		t.Error("a third fetch runs beside two")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for range 6 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// One host gets half of the slots; while it hangs, another is served.
func TestOneSlowHostLeavesSlotsToOthers(t *testing.T) {
	release := make(chan struct{})
	busy := make(chan struct{}, 10)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		busy <- struct{}{}
		<-release
		w.Write([]byte("x"))
	}))
	defer slow.Close()
	fast := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) }))
	defer fast.Close()
	cfg := RefConfig{Allow: []string{slow.URL, fast.URL}, MaxBytes: 1000, Timeout: 10 * time.Second, Parallel: 4}
	r, err := newResolver(cfg, store{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 5)
	for range 5 {
		go func() {
			_, err := r.fetch(t.Context(), refTo(slow.URL+"/x", []byte("x")))
			done <- err
		}()
	}
	<-busy
	<-busy
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := r.fetch(ctx, refTo(fast.URL+"/x", []byte("x"))); err != nil {
			t.Errorf("the fast host beside a slow one: %v", err)
		}
		cancel()
	}
	select {
	case <-busy:
		t.Error("a third fetch from one host runs; half of 4 may")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for range 5 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAllowListIsChecked(t *testing.T) {
	for _, bad := range []string{"", "frames", "ftp://host/x", "https://", "file://host/x", "https://a/../b", "objectstore:"} {
		_, err := newResolver(RefConfig{Allow: []string{bad}, Parallel: 1}, nil)
		if errs.FieldOf(err) != "ref-allow" {
			t.Errorf("allow %q: %v, want an error at ref-allow", bad, err)
		}
	}
}

// A video that waits for the model holds only what the model reads of its frames.
func TestFramesAreLetGo(t *testing.T) {
	data := make([]byte, 2*testFrameDim*40)
	inline := &event.Frames{Data: data}
	named := refTo("objectstore:frames/x", data)
	r, err := newResolver(RefConfig{Allow: []string{"objectstore:frames"}, MaxBytes: len(data), Timeout: time.Second, Parallel: 1}, store{"frames/x": data})
	if err != nil {
		t.Fatal(err)
	}
	p := &pipeline{frameDim: testFrameDim, resolver: r, collator: testCollator(t, true), metrics: newMetrics(prometheus.NewRegistry())}
	for _, frames := range []*event.Frames{inline, named} {
		frames.Encoding, frames.Dim, frames.Count = event.Frames_F16, testFrameDim, 40
		input, err := p.collate(t.Context(), &event.VideoEvent{Id: "v", Frames: frames})
		if err != nil {
			t.Fatal(err)
		}
		if most := p.collator.Config().Frames; input.FrameCount[0] != most || frames.Data != nil {
			t.Errorf("%d frames in the model's input, %d bytes in the event; want %d and none", input.FrameCount[0], len(frames.Data), most)
		}
	}
}
