package embedder

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/video"
)

const testFingerprint = "0123456789ab"

func testConfig() Config {
	return Config{Bundle: "unused", Settings: Settings{
		Device: "cpu", Precision: "fp32", Threads: 1, BatchVideos: 16, BatchTokens: 4096,
		BulkSlots: 64, InteractiveSlots: 8, AckWait: 5 * time.Second, MaxDeliver: 2,
		StoreTimeout: 5 * time.Second, CanaryInterval: time.Minute,
		Ref: RefConfig{Allow: []string{"objectstore:frames"}, MaxBytes: 1 << 20, Timeout: 5 * time.Second, Parallel: 4},
	}}
}

// start runs the service on a model until the test ends or stop is called, and
// returns once it is ready.
func start(t *testing.T, b *bus.Bus, m Model, cfg Config) (env *service.Env, stop func()) {
	t.Helper()
	env = service.NewTestEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, cfg, Env{Env: env, Bus: b}, testFingerprint, m, testCollator(t, true))
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v, want nil at the end of its context", err)
		}
	})
	t.Cleanup(stop)
	return env, stop
}

// ready is what /readyz answers.
func ready(env *service.Env) (bool, string) {
	answer := httptest.NewRecorder()
	env.Admin.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return answer.Code == http.StatusOK, answer.Body.String()
}

func videoEvent(id, title string) *event.VideoEvent {
	return event.FromVideo(video.Video{ID: id, Title: title, ASRText: "说的话", CategoryID: 3, TagIDs: []int64{5}, Frames: halfFrames(4)})
}

// publish returns the event's sequence.
func publish(t *testing.T, b *bus.Bus, e *event.VideoEvent) uint64 {
	t.Helper()
	publisher, err := event.NewPublisher(b.Conn, event.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sequence, err := publisher.Publish(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}

// settled waits until every event of the stream is settled. The server counts
// what is pending a moment late, so the last event must have been delivered.
func settled(t *testing.T, b *bus.Bus) {
	t.Helper()
	state, err := b.StreamState(t.Context(), event.StreamVideos)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "every event settled", func() bool {
		info, err := b.ConsumerInfo(t.Context(), event.StreamVideos, "embedder-"+testFingerprint)
		return err == nil && info.Delivered >= state.Last && info.Pending == 0 && info.AckPending == 0
	})
}

func stored(t *testing.T, b *bus.Bus, id string) *event.Embedding {
	t.Helper()
	e, err := b.LastEmbedding(t.Context(), testFingerprint, id)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return e
}

// checkEmbedding checks that the stored effect is that of this event.
func checkEmbedding(t *testing.T, got *event.Embedding, id string, sequence uint64) {
	t.Helper()
	want, err := eval.Combine(fakeHalf(id, 1), fakeHalf(id, 2))
	if err != nil {
		t.Fatal(err)
	}
	if got.GetSequence() != sequence || got.GetDeleted() || got.GetId() != id || got.GetFingerprint() != testFingerprint ||
		!slices.Equal(got.GetEmbedding(), want) || !slices.Equal(got.GetLate(), fakeHalf(id, 1)) || !slices.Equal(got.GetEarly(), fakeHalf(id, 2)) {
		t.Errorf("%s: stored %s@%d, deleted %t, which is not the embedding of %s@%d", id, got.GetId(), got.GetSequence(), got.GetDeleted(), id, sequence)
	}
}

func TestStreamIsEmbedded(t *testing.T) {
	b := testkit.Bus(t)
	m := &fakeModel{}
	env, _ := start(t, b, m, testConfig())
	await(t, "ready", func() bool { ok, _ := ready(env); return ok })
	sequences := make(map[string]uint64)
	for _, id := range append(ids(100), "鱼.*> id") { // the last is no legal subject token
		sequences[id] = publish(t, b, videoEvent(id, "标题"))
	}
	settled(t, b)
	for id, sequence := range sequences {
		checkEmbedding(t, stored(t, b, id), id, sequence)
	}
	e := stored(t, b, "v00")
	if e.GetTitle() != "标题" || e.GetCategoryId() != 3 || !slices.Equal(e.GetTagIds(), []int64{5}) {
		t.Errorf("fields of the video: %+v", e)
	}
	if in := e.GetInput(); !in.GetTitle() || !in.GetSpeech() || !in.GetFrames() || in.GetFramesCut() != 0 {
		t.Errorf("input report: %+v, want title, speech and frames present and nothing cut", in)
	}
}

func TestInputReportSaysWhatIsMissingOrCut(t *testing.T) {
	b := testkit.Bus(t)
	start(t, b, &fakeModel{}, testConfig())
	publish(t, b, event.FromVideo(video.Video{ID: "long", Title: strings.Repeat("长", 20), Frames: halfFrames(11)}))
	publish(t, b, &event.VideoEvent{Id: "empty"})
	settled(t, b)
	// The collator of these tests: 16 late tokens, 8 early tokens, 8 frames.
	in := stored(t, b, "long").GetInput()
	if !in.GetTitle() || in.GetSpeech() || in.GetTokensCut() != 22-16 || in.GetTitleTokensCut() != 20-7 || in.GetFramesCut() != 3 {
		t.Errorf("long: %+v, want 6 tokens (20 characters and 2 special tokens, 16 fit), 13 title tokens (7 fit beside the first special one) and 3 frames cut", in)
	}
	if in := stored(t, b, "empty").GetInput(); in.GetTitle() || in.GetSpeech() || in.GetFrames() {
		t.Errorf("empty: %+v, want nothing present", in)
	}
}

func TestEditsAndDeletions(t *testing.T) {
	b := testkit.Bus(t)
	gate := &fakeModel{gate: make(chan struct{}, 1<<10)}
	gate.gate <- struct{}{} // the warm-up's two calls
	gate.gate <- struct{}{}
	start(t, b, gate, testConfig())
	publish(t, b, videoEvent("edited", "旧"))
	await(t, "the first version at the model", func() bool { return len(gate.batches()) == 3 })
	last := publish(t, b, videoEvent("edited", "新"))
	gone := publish(t, b, &event.VideoEvent{Id: "gone", Op: event.VideoEvent_DELETE})
	close(gate.gate)
	settled(t, b)
	e := stored(t, b, "edited")
	checkEmbedding(t, e, "edited", last)
	if e.GetTitle() != "新" {
		t.Errorf("title %q, want the edit's", e.GetTitle())
	}
	if e := stored(t, b, "gone"); !e.GetDeleted() || e.GetSequence() != gone || len(e.GetEmbedding()) != 0 {
		t.Errorf("deleted video: %+v, want an empty tombstone at %d", e, gone)
	}
	again := publish(t, b, videoEvent("gone", "回来"))
	settled(t, b)
	checkEmbedding(t, stored(t, b, "gone"), "gone", again)
}

func TestPoisonedEventsBecomeDeadLetters(t *testing.T) {
	b := testkit.Bus(t)
	start(t, b, &fakeModel{poison: "crash"}, testConfig())
	nan := videoEvent("nan", "x")
	copy(nan.Frames.Data[10:], []byte{0x00, 0x7e}) // a half-precision NaN
	wide := event.FromVideo(video.Video{ID: "wide", Frames: video.Frames{Encoding: video.F16, Dim: 4, Count: 1, Data: make([]byte, 8)}})
	secret := videoEvent("secret", "x")
	secret.Frames.Data, secret.Frames.Ref, secret.Frames.Sha256 = nil, "file:///etc/passwd", strings.Repeat("0", 64)
	raw := map[string][]byte{"json": []byte(`{"id":"json","tilte":"x"}`), "subject": []byte(`{"id":"another"}`)}
	for id, e := range map[string]*event.VideoEvent{"nan": nan, "wide": wide, "secret": secret} {
		data, err := protojson.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		raw[id] = data
	}
	for id, data := range raw {
		if _, err := b.JS.Publish(t.Context(), event.VideoSubject(id), data); err != nil {
			t.Fatal(err)
		}
		publish(t, b, videoEvent("neighbour of "+id, "x"))
	}
	publish(t, b, videoEvent("crash", "x"))
	settled(t, b)
	for id := range raw {
		stored(t, b, "neighbour of "+id)
	}
	for id, want := range map[string]struct {
		kind  errs.Kind
		field string
	}{
		"nan": {errs.Invalid, "frames.data"}, "wide": {errs.Invalid, "frames.dim"}, "secret": {errs.Invalid, "frames.ref"},
		"json": {errs.Invalid, "tilte"}, "subject": {errs.Invalid, "id"}, "crash": {errs.Internal, ""},
	} {
		dead, err := b.LastDead(t.Context(), id)
		if err != nil {
			t.Errorf("%s: no dead letter: %v", id, err)
		} else if dead.Kind != want.kind || dead.Field != want.field || dead.Reason == "" {
			t.Errorf("%s: kind %s, field %q, reason %q; want kind %s, field %q", id, dead.Kind, dead.Field, dead.Reason, want.kind, want.field)
		}
		if _, err := b.LastEmbedding(t.Context(), testFingerprint, id); errs.KindOf(err) != errs.NotFound {
			t.Errorf("%s: an embedding is stored (%v)", id, err)
		}
	}
}

func TestRedeliveryCostsNoForwardPass(t *testing.T) {
	b := testkit.Bus(t)
	_, stop := start(t, b, &fakeModel{}, testConfig())
	sequences := make(map[string]uint64)
	for _, id := range ids(20) {
		sequences[id] = publish(t, b, videoEvent(id, "x"))
	}
	settled(t, b)
	stop()
	if err := b.JS.DeleteConsumer(t.Context(), event.StreamVideos, "embedder-"+testFingerprint); err != nil {
		t.Fatal(err)
	}
	m := &fakeModel{}
	start(t, b, m, testConfig()) // everything is delivered again
	settled(t, b)
	for id, sequence := range sequences {
		checkEmbedding(t, stored(t, b, id), id, sequence)
	}
	if calls := m.batches(); len(calls) != 2 {
		t.Errorf("%d calls of the model, want the warm-up's 2", len(calls))
	}
}

func TestStopFinishesTheBatchInHand(t *testing.T) {
	b := testkit.Bus(t)
	m := &fakeModel{gate: make(chan struct{}, 1<<10)}
	m.gate <- struct{}{}
	m.gate <- struct{}{}
	cfg := testConfig()
	cfg.BatchVideos = 4
	env, stop := start(t, b, m, cfg)
	await(t, "ready", func() bool { ok, _ := ready(env); return ok })
	sequences := make(map[string]uint64)
	for _, id := range ids(30) {
		sequences[id] = publish(t, b, videoEvent(id, "x"))
	}
	await(t, "a batch at the model", func() bool { return len(m.batches()) == 3 })
	hand := m.batches()[2]
	stopping := make(chan struct{})
	go func() { defer close(stopping); stop() }()
	time.Sleep(50 * time.Millisecond)
	select {
	case <-stopping:
		t.Fatal("it stopped with a batch in hand")
	default:
	}
	m.gate <- struct{}{}
	<-stopping
	for _, id := range hand {
		checkEmbedding(t, stored(t, b, id), id, sequences[id])
	}
	if n := len(m.batches()); n != 3 {
		t.Errorf("%d calls of the model, want none after the batch in hand", n)
	}
	start(t, b, &fakeModel{}, cfg) // the next embedder has the rest at once
	settled(t, b)
	for id, sequence := range sequences {
		checkEmbedding(t, stored(t, b, id), id, sequence)
	}
}

func TestBulkWaitsForSlots(t *testing.T) {
	b := testkit.Bus(t)
	m := &fakeModel{gate: make(chan struct{}, 1<<10)}
	m.gate <- struct{}{}
	m.gate <- struct{}{}
	cfg := testConfig()
	cfg.BulkSlots, cfg.BatchVideos = 6, 1
	start(t, b, m, cfg)
	for _, id := range ids(40) {
		publish(t, b, videoEvent(id, "x"))
	}
	await(t, "a batch at the model", func() bool { return len(m.batches()) == 3 })
	time.Sleep(50 * time.Millisecond)
	info, err := b.ConsumerInfo(t.Context(), event.StreamVideos, "embedder-"+testFingerprint)
	if err != nil || info.AckPending > 6 {
		t.Errorf("%d events taken on (%v), want at most the 6 slots", info.AckPending, err)
	}
	close(m.gate)
	settled(t, b)
}

func TestFramesByReference(t *testing.T) {
	b := testkit.Bus(t)
	start(t, b, &fakeModel{}, testConfig())
	frames, err := b.JS.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: "frames"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := frames.PutBytes(t.Context(), "day/one", halfFrames(4).Data); err != nil {
		t.Fatal(err)
	}
	e := videoEvent("ref", "x")
	ref := refTo("objectstore:frames/day/one", e.Frames.Data)
	e.Frames.Data, e.Frames.Ref, e.Frames.Sha256 = nil, ref.Ref, ref.Sha256
	publish(t, b, e)
	missing := proto.CloneOf(e)
	missing.Id, missing.Frames.Ref = "missing", "objectstore:frames/day/two"
	publish(t, b, missing)
	settled(t, b)
	if in := stored(t, b, "ref").GetInput(); !in.GetFrames() {
		t.Errorf("input report %+v, want frames", in)
	}
	if dead, err := b.LastDead(t.Context(), "missing"); err != nil || dead.Kind != errs.NotFound {
		t.Errorf("missing object: %+v, %v; want a dead letter of kind not-found", dead, err)
	}
}

func TestNotReadyBeforeTheWarmUp(t *testing.T) {
	b := testkit.Bus(t)
	m := &fakeModel{gate: make(chan struct{}, 1<<10)}
	env, _ := start(t, b, m, testConfig())
	await(t, "the warm-up at the model", func() bool { return len(m.batches()) == 1 })
	if ok, body := ready(env); ok || !strings.Contains(body, "warming up") {
		t.Errorf("during the warm-up: ready %t, %s", ok, body)
	}
	close(m.gate)
	await(t, "ready", func() bool { ok, _ := ready(env); return ok })
	if calls := m.batches(); len(calls) != 2 || len(calls[1]) != 16 {
		t.Errorf("warm-up batches %v, want one video, then the largest batch", calls)
	}
}

func TestMetricsAreThere(t *testing.T) {
	b := testkit.Bus(t)
	env, _ := start(t, b, &fakeModel{}, testConfig())
	publish(t, b, videoEvent("a", "x"))
	settled(t, b)
	answer := httptest.NewRecorder()
	env.Admin.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`videosim_embedder_videos_total{lane="bulk",result="embedded"} 1`,
		`videosim_embedder_queue_videos{lane="bulk"} 0`,
		`videosim_embedder_batch_videos_count 1`,
		`videosim_embedder_store_seconds_count 1`,
	} {
		if !bytes.Contains(answer.Body.Bytes(), []byte(line)) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
}

// After an error of CUDA that stays, the process ends: no video is to blame, and
// all go back to the stream, where a new process finds them.
func TestLostGPUEndsTheProcess(t *testing.T) {
	b := testkit.Bus(t)
	m := &fakeModel{}
	env := service.NewTestEnv(t)
	done := make(chan error, 1)
	go func() {
		done <- serve(t.Context(), testConfig(), Env{Env: env, Bus: b}, testFingerprint, m, testCollator(t, true))
	}()
	await(t, "ready", func() bool { ok, _ := ready(env); return ok })
	m.set(func() { m.lost = true })
	sequences := make(map[string]uint64)
	for _, id := range ids(10) {
		sequences[id] = publish(t, b, videoEvent(id, "标题"))
	}
	select {
	case err := <-done:
		if !errors.Is(err, errDeviceGone) || !strings.Contains(err.Error(), "illegal memory access") {
			t.Errorf("serve: %v, want errDeviceGone with CUDA's own words", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the process goes on with a GPU that fails every call")
	}
	await(t, "not ready, with the reason", func() bool {
		ok, body := ready(env)
		return !ok && strings.Contains(body, "illegal memory access")
	})
	start(t, b, &fakeModel{}, testConfig())
	settled(t, b)
	for id, sequence := range sequences {
		checkEmbedding(t, stored(t, b, id), id, sequence)
		if dead, err := b.LastDead(t.Context(), id); errs.KindOf(err) != errs.NotFound {
			t.Errorf("%s became a dead letter: %+v, %v", id, dead, err)
		}
	}
}
