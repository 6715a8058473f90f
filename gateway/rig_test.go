package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/prometheus/client_golang/prometheus"

	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/vecdb"
)

type busEmbedHandler = bus.EmbedHandler

const (
	testModel    = "0123456789ab"
	testDim      = 16
	testFrameDim = 4
)

// rig is a gateway with a real NATS server, a real exact index, and an
// embedder that makes vectors of titles.
type rig struct {
	*server
	t        testing.TB
	bus      *bus.Bus
	index    vecdb.Index
	progress *handProgress
	url      string
	lane     atomic.Pointer[bus.EmbedHandler] // what the embedder answers with
	router   routers.Router
	gathered *prometheus.Registry
}

func testConfig() Config {
	return Config{
		Bundle: "none", Index: vecdb.Config{Kind: vecdb.KindExact},
		Settings: Settings{
			Listen: "127.0.0.1:0", RateBurst: 50, MaxInFlight: 256, KeyInFlight: 64, HeaderTimeout: 10 * time.Second, MaxBodyBytes: 8 << 20, MaxLabelPairs: 1_000_000,
			Timeout: 10 * time.Second, StreamTimeout: 20 * time.Second, StopTimeout: 5 * time.Second,
			PageTokenKey: "for tests",
		},
	}
}

func testManifest() bundle.Manifest {
	return bundle.Manifest{
		Fingerprint: testModel, EmbeddingDim: testDim, FrameDim: testFrameDim,
		Calibration: eval.Calibration{Cosines: []float64{-1, 0, 1}, Scores: []float64{0, 0.25, 1}},
	}
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	cfg := testConfig()
	for _, c := range change {
		c(&cfg)
	}
	r := &rig{t: t, bus: testkit.Bus(t), index: vecdb.NewExact(testDim), progress: &handProgress{}}
	t.Cleanup(func() { _ = r.index.Close() })
	handler := bus.EmbedHandler(embedTitles)
	r.lane.Store(&handler)
	err := r.bus.ServeEmbed(t.Context(), testModel, func(ctx context.Context, req *event.EmbedRequest) *event.EmbedReply {
		return (*r.lane.Load())(ctx, req)
	})
	if err != nil {
		t.Fatal(err)
	}
	env := Env{Env: service.NewTestEnv(t), Bus: r.bus, Index: r.index}
	r.gathered = env.Metrics
	if r.server, err = newServer(cfg, env, testManifest(), r.progress); err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(r.routes())
	r.url = served.URL
	t.Cleanup(served.Close)
	r.router = documentRouter(t)
	return r
}

func documentRouter(t testing.TB) routers.Router {
	t.Helper()
	openapi3filter.RegisterBodyDecoder("text/tab-separated-values", openapi3filter.FileBodyDecoder)
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatalf("openapi.json: %v", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatalf("openapi.json: %v", err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return router
}

// handProgress is moved by the test.
type handProgress struct {
	mu  sync.Mutex
	seq uint64
}

func (p *handProgress) Sequence() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq
}

func (p *handProgress) set(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq = seq
}

func (p *handProgress) Wait(ctx context.Context, seq uint64) error {
	for p.Sequence() < seq {
		select {
		case <-ctx.Done():
			return errs.New(errs.Unavailable, "wait: %w", ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// halvesOf makes the two halves of a title's embedding.
func halvesOf(title string) (late, early []float32) {
	h := fnv.New64a()
	_, _ = io.WriteString(h, title)
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	late, early = make([]float32, testDim), make([]float32, testDim)
	for i := range late {
		late[i], early[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
	}
	return late, early
}

func vectorOf(title string) []float32 {
	v, err := eval.Combine(halvesOf(title))
	if err != nil {
		panic(err)
	}
	return v
}

// embedTitles is the test's embedder.
func embedTitles(_ context.Context, req *event.EmbedRequest) *event.EmbedReply {
	reply := &event.EmbedReply{}
	for _, v := range req.Videos {
		late, early := halvesOf(v.Title)
		embedding, err := eval.Combine(late, early)
		if err != nil {
			panic(err)
		}
		reply.Results = append(reply.Results, &event.EmbedResult{
			Embedding: embedding, Late: late, Early: early,
			Input:   &event.InputReport{Title: v.Title != "", Speech: v.AsrText != "", Frames: v.Frames.GetCount() > 0, TokensCut: int32(len(v.Title) / 100)},
			Timings: &event.Timings{PrepareSeconds: 0.25, QueueSeconds: float32(len(v.Title)), ForwardSeconds: 0.5},
		})
	}
	return reply
}

// fill indexes n videos v0, v1, … with titles "title 0", …, categories i%3,
// tags i%5, published an hour apart.
func (r *rig) fill(n int) {
	r.t.Helper()
	var records []vecdb.Record
	for i := range n {
		records = append(records, vecdb.Record{
			ID: fmt.Sprintf("v%d", i), Embedding: vectorOf(fmt.Sprintf("title %d", i)), Title: fmt.Sprintf("title %d", i),
			CategoryID: int64(i % 3), TagIDs: []int64{int64(i % 5)}, PublishedAt: epoch.Add(time.Duration(i) * time.Hour), Sequence: uint64(i + 1),
		})
	}
	if err := r.index.Upsert(r.t.Context(), records); err != nil {
		r.t.Fatal(err)
	}
	r.progress.set(uint64(n))
}

var epoch = time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)

// reply is an answer as a test looks at it.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
	value  map[string]any
}

// call makes a request and checks the answer against openapi.json.
func (r *rig) call(method, path, body string, headers ...string) reply {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	out := reply{t: r.t, status: res.StatusCode, header: res.Header}
	if out.body, err = io.ReadAll(res.Body); err != nil {
		r.t.Fatal(err)
	}
	r.conforms(req, out)
	if strings.Contains(res.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(out.body, &out.value); err != nil {
			r.t.Fatalf("%s %s: %v in %s", method, path, err, out.body)
		}
	}
	return out
}

// conforms fails the test where an answer is not as openapi.json says.
func (r *rig) conforms(req *http.Request, out reply) {
	r.t.Helper()
	asked := req.Clone(context.Background())
	asked.URL.Host, asked.URL.Scheme = "", ""
	route, params, err := r.router.FindRoute(asked)
	if errors.Is(err, routers.ErrPathNotFound) || errors.Is(err, routers.ErrMethodNotAllowed) {
		if !strings.HasPrefix(out.header.Get("Content-Type"), "text/html") && out.status != http.StatusNotFound && out.status != http.StatusMethodNotAllowed {
			r.t.Fatalf("%s %s answers %d and is not in openapi.json", req.Method, req.URL.Path, out.status)
		}
		return
	}
	if err != nil {
		r.t.Fatal(err)
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route},
		Status:                 out.status, Header: out.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	input.SetBodyBytes(out.body)
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		r.t.Fatalf("%s %s: not as openapi.json says: %v\n%s", req.Method, req.URL.Path, err, out.body)
	}
}

// want fails the test unless the answer has the status.
func (a reply) want(status int) reply {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// problem fails the test unless the answer is this problem about this field.
func (a reply) problem(status int, name, field string) reply {
	a.t.Helper()
	a.want(status)
	if got := a.value["type"]; got != problemPrefix+name {
		a.t.Fatalf("problem type %v, want %s: %s", got, name, a.body)
	}
	if got, _ := a.value["field"].(string); got != field {
		a.t.Fatalf("problem field %q, want %q: %s", got, field, a.body)
	}
	return a
}

// ids lists the results' ids.
func (a reply) ids() []string {
	a.t.Helper()
	out := []string{}
	for _, r := range a.value["results"].([]any) {
		out = append(out, r.(map[string]any)["id"].(string))
	}
	return out
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
