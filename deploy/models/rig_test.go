package models

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"videosim/gateway"
	"videosim/indexer"
	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/vecdb"
)

const dim = 16

// rig is the suite on a real NATS server and a real Milvus server of its own.
// Only the embedders are stand-ins: a model's embedding is a number of noise
// per title and model.
type rig struct {
	t      *testing.T
	nats   *bus.Server
	bus    *bus.Bus
	milvus *testkit.MilvusServer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	server, err := testkit.StartMilvus(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
	})
	nats := testkit.NATS(t)
	return &rig{t: t, nats: nats, bus: testkit.Connect(t, nats), milvus: server}
}

func (r *rig) milvusConfig() vecdb.MilvusConfig { return vecdb.DefaultMilvus(r.milvus.Address()) }

func (r *rig) index() vecdb.Config {
	return vecdb.Config{Kind: vecdb.KindMilvus, Milvus: r.milvusConfig()}
}

// model is one model's services in this process.
type model struct {
	*rig
	name        string
	fingerprint string
	bundle      string
	url         string       // of its gateway
	env         *service.Env // of its gateway
	indexerEnv  *service.Env
}

// model starts the services of a model that differs from others by its name.
func (r *rig) model(name string) *model {
	r.t.Helper()
	m := &model{rig: r, name: name, bundle: filepath.Join(r.t.TempDir(), "bundle")}
	var err error
	tensor := []bundle.NamedTensor{{Name: "w", DType: "F32", Shape: []int64{1}, Data: make([]byte, 4)}}
	m.fingerprint, err = bundle.Write(m.bundle, bundle.Contents{
		Config: json.RawMessage(fmt.Sprintf(`{"name":%q}`, name)), Vocab: []byte("[PAD]\n"), Late: tensor, Early: tensor,
		Manifest: bundle.Manifest{EmbeddingDim: dim, FrameDim: 4, Calibration: eval.Calibration{Cosines: []float64{-1, 1}, Scores: []float64{0, 1}}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// start runs a part of the suite until the test or the returned stop ends it.
func (m *model) start(name string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("%s of %s: %v", name, m.name, err)
		}
	})
	m.t.Cleanup(stop)
	return stop
}

func (m *model) startIndexer() (stop func()) {
	m.indexerEnv = service.NewTestEnv(m.t)
	cfg := indexer.Config{
		Bundle: m.bundle, Index: m.rig.index(), NATS: bus.Config{URL: m.nats.ClientURL()},
		Settings: indexerSettings(),
	}
	return m.start("indexer", func(ctx context.Context) error {
		return indexer.Run(ctx, cfg, indexer.Env{Env: m.indexerEnv})
	})
}

func (m *model) startGateway() {
	m.t.Helper()
	m.env = service.NewTestEnv(m.t)
	listening := make(chan net.Addr, 1)
	cfg := struct {
		gateway.Config `embed:""`
	}{}
	fill(m.t, &cfg, "--bundle="+m.bundle)
	cfg.Index, cfg.NATS.URL = m.rig.index(), m.nats.ClientURL()
	cfg.Listen, cfg.Timeout = "127.0.0.1:0", 5*time.Second
	m.start("gateway", func(ctx context.Context) error {
		return gateway.Run(ctx, cfg.Config, gateway.Env{Env: m.env, Listening: func(a net.Addr) { listening <- a }})
	})
	select {
	case a := <-listening:
		m.url = "http://" + a.String()
	case <-time.After(20 * time.Second):
		m.t.Fatal("the gateway does not listen")
	}
}

// fill sets a config to these flags and the defaults of the others.
func fill(t *testing.T, cfg any, args ...string) {
	t.Helper()
	parser, err := kong.New(cfg)
	if err == nil {
		_, err = parser.Parse(args)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// startEmbedder is the stand-in: it takes VIDEOS in order, as the real one.
func (m *model) startEmbedder() (stop func()) {
	return m.start("embedder", func(ctx context.Context) error {
		consumer, err := m.bus.Consume(ctx, bus.ConsumerConfig{Stream: event.StreamVideos, Durable: "embedder-" + m.fingerprint, MaxAckPending: 512})
		if err != nil {
			return err
		}
		defer consumer.Stop()
		for {
			messages, err := consumer.Next(ctx, 256)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			for _, msg := range messages {
				e, err := event.Decode(msg.Data, event.ContentTypeOf(msg.Header))
				if err != nil {
					return err
				}
				if _, err := m.bus.StoreEmbedding(ctx, m.embed(e, msg.Sequence)); err != nil && ctx.Err() == nil {
					return err
				}
				if err := msg.Ack(ctx); err != nil && ctx.Err() == nil {
					return err
				}
			}
		}
	})
}

func (m *model) embed(e *event.VideoEvent, sequence uint64) *event.Embedding {
	out := &event.Embedding{Id: e.GetId(), Fingerprint: m.fingerprint, Sequence: sequence}
	if e.GetOp() == event.VideoEvent_DELETE {
		out.Deleted = true
		return out
	}
	out.Title, out.CategoryId, out.TagIds = e.GetTitle(), e.GetCategoryId(), e.GetTagIds()
	out.Embedding = m.vector(e.GetTitle())
	return out
}

// vector is the model's embedding of a title.
func (m *model) vector(title string) []float32 {
	h := fnv.New64a()
	h.Write([]byte(m.name + title))
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	unit, err := eval.Combine(v, make([]float32, dim))
	if err != nil {
		m.t.Fatal(err)
	}
	return unit
}

// publish sends videos, or their deletion, and returns the last sequence.
func (r *rig) publish(events ...*event.VideoEvent) (last uint64) {
	r.t.Helper()
	p, err := event.NewPublisher(r.bus.Conn, event.PublisherConfig{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range events {
		if last, err = p.Publish(r.t.Context(), e); err != nil {
			r.t.Fatal(err)
		}
	}
	return last
}

// videos makes n events with a version in their titles.
func videos(n, version int) []*event.VideoEvent {
	all := make([]*event.VideoEvent, n)
	for i := range all {
		all[i] = &event.VideoEvent{Id: fmt.Sprintf("v%04d", i), Title: fmt.Sprintf("video %d, version %d", i, version), CategoryId: int64(i % 7)}
	}
	return all
}

// reply is an answer of a gateway.
type reply struct {
	Status  int    `json:"-"`
	Kind    string `json:"-"` // the content type
	Model   string `json:"model"`
	Detail  string `json:"detail"`
	Type    string `json:"type"`
	Results []struct {
		ID     string  `json:"id"`
		Cosine float64 `json:"cosine"`
	} `json:"results"`
}

func (m *model) get(path string) (reply, error) {
	client := http.Client{Timeout: 20 * time.Second}
	res, err := client.Get(m.url + path)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return reply{}, err
	}
	out := reply{Status: res.StatusCode, Kind: res.Header.Get("Content-Type")}
	return out, json.Unmarshal(body, &out)
}

// ready is what /readyz says.
func ready(env *service.Env) string {
	w := newRecorder()
	req, _ := http.NewRequest(http.MethodGet, "/readyz", nil) // cannot fail on these arguments
	env.Admin.Handler().ServeHTTP(w, req)
	return w.body.String()
}

type recorder struct {
	header http.Header
	body   strings.Builder
}

func newRecorder() *recorder                    { return &recorder{header: http.Header{}} }
func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(int)             {}
func (w *recorder) Write(p []byte) (int, error) { return w.body.Write(p) }

// await polls until check returns nil.
func await(t *testing.T, wait time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, wait, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// attach opens the model's collection once it is there and answers.
func (m *model) attach() *vecdb.Milvus {
	m.t.Helper()
	var index *vecdb.Milvus
	await(m.t, time.Minute, "the collection answers", func() (err error) {
		ctx, cancel := context.WithTimeout(m.t.Context(), 10*time.Second)
		defer cancel()
		index, err = vecdb.AttachMilvus(ctx, m.milvusConfig(), m.fingerprint)
		return err
	})
	m.t.Cleanup(func() { _ = index.Close() })
	return index
}

// waitIndexed returns once everything stored for the model is acknowledged.
func (m *model) waitIndexed(wait time.Duration) {
	m.t.Helper()
	progress := bus.NewProgress(m.bus, m.fingerprint)
	ctx, cancel := context.WithTimeout(m.t.Context(), wait)
	defer cancel()
	go progress.Run(ctx)
	state, err := m.bus.StreamState(ctx, event.StreamVideos)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := progress.Wait(ctx, state.Last); err != nil {
		m.t.Fatalf("%s: %v", m.name, err)
	}
}

func (r *rig) deadLetters() uint64 {
	r.t.Helper()
	state, err := r.bus.StreamState(r.t.Context(), event.StreamDead)
	if err != nil {
		r.t.Fatal(err)
	}
	return state.Messages
}

// checkIndex holds the collection against what was published last.
func (m *model) checkIndex(index *vecdb.Milvus, want []*event.VideoEvent) {
	m.t.Helper()
	live := map[string]string{}
	ids := make([]string, 0, len(want))
	for _, e := range want {
		live[e.GetId()] = e.GetTitle()
		ids = append(ids, e.GetId())
	}
	var records []vecdb.Record
	await(m.t, 30*time.Second, "read the collection", func() (err error) {
		records, err = index.Fetch(m.t.Context(), ids)
		return err
	})
	for _, r := range records {
		if r.Title != live[r.ID] {
			m.t.Errorf("%s: the index holds %q, want %q", r.ID, r.Title, live[r.ID])
		}
		if cosine := eval.Cosine(r.Embedding, m.vector(r.Title)); cosine < 0.9999 {
			m.t.Errorf("%s: its embedding is another's (cosine %v)", r.ID, cosine)
		}
	}
	n, err := index.Count(m.t.Context())
	if err != nil || n != int64(len(want)) || len(records) != len(want) {
		m.t.Errorf("the index holds %d rows, %d of them found (%v), want %d", n, len(records), err, len(want))
	}
}
