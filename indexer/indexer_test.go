package indexer

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/vecdb"
)

func testConfig(kind string) Config {
	return Config{
		Fingerprint: testFingerprint, Dim: testDim,
		Settings: Settings{
			BatchEmbeddings: 64, MaxPending: 256, KnownSequences: 1000,
			AckWait: 5 * time.Second, MaxDeliver: 2, WriteTimeout: 5 * time.Second,
		},
		Index: vecdb.Config{Kind: kind, Milvus: vecdb.MilvusConfig{
			Address: "localhost:19530", Index: vecdb.IndexHNSW, Timeout: time.Second, ConnectTimeout: time.Second,
		}},
	}
}

// start runs an indexer until the test ends or stop is called.
func start(t *testing.T, b *bus.Bus, index vecdb.Index, cfg Config) (env *service.Env, stop func()) {
	t.Helper()
	env = service.NewTestEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, Env{Env: env, Bus: b, Index: index}) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v, want nil at the end of its context", err)
		}
	}
	t.Cleanup(stop)
	return env, stop
}

func store(t *testing.T, b *bus.Bus, all ...*event.Embedding) {
	t.Helper()
	for _, e := range all {
		if _, err := b.StoreEmbedding(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// publish puts bytes on the stream as no embedder would.
func publish(t *testing.T, b *bus.Bus, id string, data []byte) {
	t.Helper()
	if _, err := b.JS.Publish(t.Context(), event.EmbeddingSubject(testFingerprint, id), data); err != nil {
		t.Fatal(err)
	}
}

// await polls until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s: %s", what)
		}
	}
}

// settled waits until the indexer has settled everything in the stream. The
// server counts what is pending a moment late, so the last message of this
// model must have been delivered.
func settled(t *testing.T, b *bus.Bus) {
	t.Helper()
	stream, err := b.JS.Stream(t.Context(), event.StreamEmbeddings)
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	if msg, err := stream.GetLastMsgForSubject(t.Context(), event.EmbeddingFilter(testFingerprint)); err == nil {
		last = msg.Sequence
	}
	await(t, "everything settled", func() bool {
		info, err := b.ConsumerInfo(t.Context(), event.StreamEmbeddings, "indexer-"+testFingerprint)
		return err == nil && info.Delivered >= last && info.Pending == 0 && info.AckPending == 0
	})
}

// sequences is what the index holds of the ids.
func sequences(t *testing.T, index vecdb.Index, ids ...string) map[string]uint64 {
	t.Helper()
	records, err := index.Fetch(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	held := make(map[string]uint64)
	for _, r := range records {
		held[r.ID] = r.Sequence
		if !slices.Equal(r.Embedding, vector(int(r.Sequence))) {
			t.Errorf("%s@%d has another sequence's embedding", r.ID, r.Sequence)
		}
	}
	return held
}

func want(t *testing.T, index vecdb.Index, expected map[string]uint64) {
	t.Helper()
	if held := sequences(t, index, slices.Sorted(maps.Keys(expected))...); !maps.Equal(held, expected) {
		t.Errorf("the index holds %v, want %v", held, expected)
	}
	if n, err := index.Count(t.Context()); err != nil || n != int64(len(expected)) {
		t.Errorf("the index holds %d embeddings (%v), want %d", n, err, len(expected))
	}
}

// ready is what /readyz answers.
func ready(env *service.Env) string {
	answer := httptest.NewRecorder()
	env.Admin.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return answer.Body.String()
}

func TestStreamReachesTheIndex(t *testing.T) {
	b, index := testkit.Bus(t), vecdb.NewExact(testDim)
	expected := make(map[string]uint64)
	for i := range 300 {
		id := fmt.Sprintf("v%03d", i)
		store(t, b, upsert(id, uint64(i+1)))
		expected[id] = uint64(i + 1)
	}
	env, _ := start(t, b, index, testConfig(vecdb.KindExact))
	for i := range 30 { // edits and deletions while it runs
		edited, gone := fmt.Sprintf("v%03d", i), fmt.Sprintf("v%03d", 100+i)
		store(t, b, upsert(edited, uint64(1000+i)), tombstone(gone, uint64(2000+i)))
		expected[edited] = uint64(1000 + i)
		delete(expected, gone)
	}
	settled(t, b)
	want(t, index, expected)
	await(t, "ready", func() bool { return strings.Contains(ready(env), `"ready":true,"checks"`) })
}

func TestReplayRebuildsTheIndex(t *testing.T) {
	b, first := testkit.Bus(t), vecdb.NewExact(testDim)
	store(t, b, upsert("a", 1), upsert("b", 2), tombstone("c", 3))
	_, stop := start(t, b, first, testConfig(vecdb.KindExact))
	settled(t, b)
	stop()
	second := vecdb.NewExact(testDim)
	start(t, b, second, testConfig(vecdb.KindExact))
	await(t, "the replay", func() bool { n, _ := second.Count(t.Context()); return n == 2 })
	settled(t, b)
	want(t, second, map[string]uint64{"a": 1, "b": 2})
}

func TestOlderNeverReplacesNewer(t *testing.T) {
	b, index := testkit.Bus(t), vecdb.NewExact(testDim)
	// As with Milvus, the index outlives the indexer; so what the memory of the
	// first run knew, the second must find in the index.
	cfg := testConfig(vecdb.KindMilvus)
	_, stop := start(t, b, index, cfg)
	store(t, b, upsert("a", 10), upsert("gone", 10), upsert("b", 10))
	settled(t, b)
	store(t, b, tombstone("gone", 20))
	settled(t, b)
	for _, id := range []string{"a", "gone"} {
		publish(t, b, id, marshal(t, upsert(id, 5)))
	}
	settled(t, b)
	want(t, index, map[string]uint64{"a": 10, "b": 10})
	stop()

	start(t, b, index, cfg)
	publish(t, b, "b", marshal(t, upsert("b", 5)))
	settled(t, b)
	want(t, index, map[string]uint64{"a": 10, "b": 10})
	store(t, b, upsert("a", 30))
	settled(t, b)
	want(t, index, map[string]uint64{"a": 30, "b": 10})
}

func TestWhatMustNotBeIndexedBecomesADeadLetter(t *testing.T) {
	b, index := testkit.Bus(t), vecdb.NewExact(testDim)
	long := upsert("long", 4)
	long.Embedding = scaled(long.Embedding, 2)
	other := upsert("other", 5)
	other.Fingerprint = "ba9876543210"
	store(t, b, upsert("a", 1), upsert("z", 9))
	publish(t, b, "long", marshal(t, long))
	publish(t, b, "other", marshal(t, other))
	publish(t, b, "junk", []byte("junk"))
	start(t, b, index, testConfig(vecdb.KindExact))
	settled(t, b)
	want(t, index, map[string]uint64{"a": 1, "z": 9})
	for id, kind := range map[string]errs.Kind{"long": errs.Corrupt, "other": errs.Invalid, "junk": errs.Corrupt} {
		dead, err := b.LastDeadEmbedding(t.Context(), testFingerprint, id)
		if err != nil {
			t.Errorf("%s: no dead letter: %v", id, err)
		} else if dead.Kind != kind || dead.Reason == "" {
			t.Errorf("%s: dead letter of kind %s, reason %q; want kind %s and a reason", id, dead.Kind, dead.Reason, kind)
		}
	}
}

func TestRefusedByTheIndexAlone(t *testing.T) {
	b := testkit.Bus(t)
	index := &faulty{Index: vecdb.NewExact(testDim), poison: "v3"}
	expected := make(map[string]uint64)
	for i := range 8 {
		id := fmt.Sprintf("v%d", i)
		store(t, b, upsert(id, uint64(i+1)))
		expected[id] = uint64(i + 1)
	}
	delete(expected, "v3")
	start(t, b, index, testConfig(vecdb.KindExact))
	settled(t, b)
	want(t, index, expected)
	if dead, err := b.LastDeadEmbedding(t.Context(), testFingerprint, "v3"); err != nil || dead.Kind != errs.Invalid {
		t.Errorf("dead letter of v3: %+v, %v; want kind invalid", dead, err)
	}
}

func TestFailedWritesAreRepeated(t *testing.T) {
	for name, index := range map[string]*faulty{
		"done, but said it failed":         {lost: 3, kind: errs.Unavailable},
		"not done":                         {down: 3, kind: errs.Unavailable},
		"done, failed for unknown reasons": {lost: bulkTries - 1, kind: errs.Internal},
		"not done for unknown reasons":     {down: bulkTries - 1, kind: errs.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			b := testkit.Bus(t)
			index.Index = vecdb.NewExact(testDim)
			store(t, b, upsert("a", 1), upsert("b", 2), upsert("c", 3))
			store(t, b, tombstone("b", 4))
			start(t, b, index, testConfig(vecdb.KindExact))
			settled(t, b)
			store(t, b, upsert("b", 5), tombstone("a", 6))
			settled(t, b)
			want(t, index, map[string]uint64{"b": 5, "c": 3})
			dead, err := b.StreamState(t.Context(), event.StreamDead)
			if err != nil || dead.Messages != 0 {
				t.Errorf("%d dead letters (%v), want none", dead.Messages, err)
			}
		})
	}
}

func TestOutageKeepsEverythingAndShowsInReadiness(t *testing.T) {
	b := testkit.Bus(t)
	index := &faulty{Index: vecdb.NewExact(testDim), down: 1 << 30, kind: errs.Unavailable}
	env, stop := start(t, b, index, testConfig(vecdb.KindMilvus))
	store(t, b, upsert("a", 1), upsert("b", 2))
	await(t, "readiness names the failure", func() bool { return strings.Contains(ready(env), "the store is down") })
	stop() // an indexer that stops in the middle of an outage gives its batch back
	index.set(func() { index.down = 0 })
	start(t, b, index, testConfig(vecdb.KindMilvus))
	settled(t, b)
	want(t, index, map[string]uint64{"a": 1, "b": 2})
}

func TestUnknownFailureEndsAsADeadLetter(t *testing.T) {
	b := testkit.Bus(t)
	index := &faulty{Index: vecdb.NewExact(testDim), down: 1 << 30, kind: errs.Internal}
	store(t, b, upsert("a", 1))
	start(t, b, index, testConfig(vecdb.KindExact)) // MaxDeliver 2
	settled(t, b)
	if dead, err := b.LastDeadEmbedding(t.Context(), testFingerprint, "a"); err != nil || dead.Kind != errs.Internal {
		t.Errorf("dead letter %+v, %v; want kind internal", dead, err)
	}
}

func TestExactNeedsTheAllInOneProcess(t *testing.T) {
	err := Run(t.Context(), testConfig(vecdb.KindExact), Env{Env: service.NewTestEnv(t)})
	if errs.FieldOf(err) != "index" || !strings.Contains(err.Error(), "videosim up") {
		t.Errorf("standalone exact index: %v, want a refusal at index that says what to do", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"bundle":           func(c *Config) { c.Fingerprint = "" },
		"fingerprint":      func(c *Config) { c.Fingerprint = "../x" },
		"dim":              func(c *Config) { c.Dim = 0 },
		"batch-embeddings": func(c *Config) { c.BatchEmbeddings = 0 },
		"max-pending":      func(c *Config) { c.MaxPending = c.BatchEmbeddings - 1 },
		"known-sequences":  func(c *Config) { c.KnownSequences = c.MaxPending - 1 },
		"max-deliver":      func(c *Config) { c.MaxDeliver = 0 },
		"ack-wait":         func(c *Config) { c.AckWait = 0 },
		"write-timeout":    func(c *Config) { c.WriteTimeout = 0 },
		"index":            func(c *Config) { c.Index.Kind = "faiss" },
		"replicas":         func(c *Config) { c.NATS.Replicas = 2 },
	} {
		cfg := testConfig(vecdb.KindMilvus)
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if err := cfg.Validate(); errs.FieldOf(err) != field || errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v, want Invalid at that field", field, err)
		}
	}
}
