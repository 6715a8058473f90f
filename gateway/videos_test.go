package gateway

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/vecdb"
)

// path is the whole way of an event but for the models: an embedder and an
// indexer of a few lines each on the real streams, and a gateway that Run
// serves from a bundle's manifest.
type path struct {
	*rig
	embedding, indexing chan struct{} // a token lets one message pass
	stop                func()        // ends the gateway that run started last
}

const free = 1 << 16 // tokens for a test that stops nothing

func newPath(t *testing.T, tokens int) *path {
	t.Helper()
	p := &path{
		rig:       &rig{t: t, bus: testkit.Bus(t), index: vecdb.NewExact(testDim)},
		embedding: make(chan struct{}, free), indexing: make(chan struct{}, free),
	}
	for range tokens {
		p.embedding <- struct{}{}
		p.indexing <- struct{}{}
	}
	p.consume(event.StreamVideos, "embedder-"+testModel, "videos.>", p.embedding, p.embedOne)
	p.consume(event.StreamEmbeddings, "indexer-"+testModel, event.EmbeddingFilter(testModel), p.indexing, p.indexOne)
	p.router = documentRouter(t)
	p.url = "http://" + p.run()
	return p
}

// run starts the gateway and returns its address.
func (p *path) run() string {
	t := p.t
	cfg := testConfig()
	cfg.Bundle = t.TempDir()
	manifest := testManifest()
	manifest.FormatVersion, manifest.CreatedAt = bundle.FormatVersion, epoch
	if err := os.WriteFile(filepath.Join(cfg.Bundle, "manifest.json"), []byte(asJSON(t, manifest)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	address, ended := make(chan net.Addr, 1), make(chan error, 1)
	env := Env{Env: service.NewTestEnv(t), Bus: p.bus, Index: p.index, Listening: func(a net.Addr) { address <- a }}
	go func() { ended <- Run(ctx, cfg, env) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(p.stop)
	select {
	case a := <-address:
		return a.String()
	case err := <-ended:
		ended <- nil // for stop
		t.Fatalf("Run: %v", err)
	}
	return ""
}

func (p *path) consume(stream, durable, filter string, tokens <-chan struct{}, one func(context.Context, *bus.Message) error) {
	p.t.Helper()
	ctx := p.t.Context()
	c, err := p.bus.Consume(ctx, bus.ConsumerConfig{Stream: stream, Durable: durable, Filter: filter})
	if err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			messages, err := c.Next(ctx, 1)
			if err != nil {
				return
			}
			for _, m := range messages {
				select {
				case <-tokens:
				case <-ctx.Done():
					return
				}
				if err := one(ctx, m); err != nil {
					_ = m.Fail(ctx, err)
				} else {
					_ = m.Ack(ctx)
				}
			}
		}
	}()
	p.t.Cleanup(func() { <-done; c.Stop() })
}

func (p *path) embedOne(ctx context.Context, m *bus.Message) error {
	v, err := event.Decode(m.Data, m.Header.Get(event.HeaderContentType))
	if err != nil {
		return err
	}
	if v.Title == "poison" {
		return errs.Field("title", "expected no poison")
	}
	e := &event.Embedding{Id: v.Id, Fingerprint: testModel, Sequence: m.Sequence, Deleted: v.Op == event.VideoEvent_DELETE}
	if !e.Deleted {
		r := embedTitles(ctx, &event.EmbedRequest{Videos: []*event.VideoEvent{v}}).Results[0]
		e.Embedding, e.Late, e.Early, e.Input, e.Title, e.CategoryId, e.TagIds, e.ThumbnailUrl, e.PublishedAt = r.Embedding, r.Late, r.Early, r.Input, v.Title, v.CategoryId, v.TagIds, v.ThumbnailUrl, v.PublishedAt
	}
	_, err = p.bus.StoreEmbedding(ctx, e)
	return err
}

func (p *path) indexOne(ctx context.Context, m *bus.Message) error {
	e, err := p.bus.LastEmbedding(ctx, testModel, idOf(m.Subject))
	if err != nil {
		return err
	}
	if e.Title == "unindexable" {
		return errs.New(errs.Corrupt, "norm 7")
	}
	if e.Deleted {
		return p.rig.index.Delete(ctx, []string{e.Id})
	}
	r := vecdb.Record{ID: e.Id, Embedding: e.Embedding, Title: e.Title, CategoryID: e.CategoryId, TagIDs: e.TagIds, ThumbnailURL: e.ThumbnailUrl, Sequence: e.Sequence}
	if e.PublishedAt.IsValid() {
		r.PublishedAt = e.PublishedAt.AsTime()
	}
	return p.rig.index.Upsert(ctx, []vecdb.Record{r})
}

func idOf(subject string) string {
	id, err := event.IDFromSubject(subject)
	if err != nil {
		panic(err)
	}
	return id
}

func (a reply) sequence() uint64 { return uint64(a.value["sequence"].(float64)) }

func TestPublishUntilFound(t *testing.T) {
	p := newPath(t, free)
	frames := base64.StdEncoding.EncodeToString(make([]byte, 2*testFrameDim*2))
	p.call("POST", "/v1/videos", `{"id":"a","title":"first","category_id":3,"tag_ids":[1,2],"published_at":"2025-03-01T00:00:00Z","frames":{"dim":4,"count":2,"data":"`+frames+`"}}`).want(202)
	got := p.call("POST", "/v1/videos", `{"id":"b/ü","title":"second"}`).want(202)
	location := got.header.Get("Location")
	if location != "/v1/videos/b%2F%C3%BC" || got.value["state"] != "queued" {
		t.Errorf("Location %q: %s", location, got.body)
	}
	fresh := fmt.Sprintf("?min_sequence=%d&wait_ms=5000", got.sequence())
	found := p.call("GET", "/v1/videos/a/similar"+fresh, "").want(200)
	if ids := found.ids(); len(ids) != 1 || ids[0] != "b/ü" {
		t.Errorf("found %v", ids)
	}
	state := p.call("GET", location+fresh, "").want(200)
	if state.value["state"] != "indexed" || state.value["title"] != "second" || state.sequence() != got.sequence() {
		t.Errorf("state: %s", state.body)
	}
	first := p.call("GET", "/v1/videos/a", "").want(200)
	if f := first.value["frames"].(map[string]any); f["dim"].(float64) != 4 || f["count"].(float64) != 2 || first.value["category_id"].(float64) != 3 {
		t.Errorf("fields: %s", first.body)
	}
	gone := p.call("DELETE", location, "").want(202)
	fresh = fmt.Sprintf("?min_sequence=%d&wait_ms=5000", gone.sequence())
	if ids := p.call("GET", "/v1/videos/a/similar"+fresh, "").want(200).ids(); len(ids) != 0 {
		t.Errorf("found after the take-down: %v", ids)
	}
	if s := p.call("GET", location, "").want(200); s.value["state"] != "deleted" {
		t.Errorf("state: %s", s.body)
	}
}

func TestStatesOfAVideo(t *testing.T) {
	p := newPath(t, 0)
	state := func(id, want, reason string) {
		t.Helper()
		var got reply
		for range 500 {
			if got = p.call("GET", "/v1/videos/"+id, "").want(200); got.value["state"] == want {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if text, _ := got.value["reason"].(string); got.value["state"] != want || text != reason {
			t.Fatalf("state %s, want %s %q", got.body, want, reason)
		}
	}
	p.call("GET", "/v1/videos/a", "").problem(404, "not-found", "")
	p.call("POST", "/v1/videos", `{"id":"a","title":"one"}`).want(202)
	state("a", "queued", "")
	p.embedding <- struct{}{}
	state("a", "queued", "") // embedded, not indexed
	p.indexing <- struct{}{}
	state("a", "indexed", "")
	p.call("POST", "/v1/videos", `{"id":"a","title":"two"}`).want(202)
	got := p.call("GET", "/v1/videos/a", "").want(200)
	if got.value["state"] != "queued" || got.value["indexed_version"].(float64) != 1 || got.value["title"] != "two" {
		t.Errorf("an edit on its way: %s", got.body)
	}
	p.embedding <- struct{}{}
	p.indexing <- struct{}{}
	state("a", "indexed", "")
	p.call("DELETE", "/v1/videos/a", "").want(202)
	state("a", "queued", "")
	p.embedding <- struct{}{}
	p.indexing <- struct{}{}
	state("a", "deleted", "")

	p.call("POST", "/v1/videos", `{"id":"b","title":"poison"}`).want(202)
	p.embedding <- struct{}{}
	state("b", "failed", "title: expected no poison")
	p.call("POST", "/v1/videos", `{"id":"b","title":"better"}`).want(202)
	state("b", "queued", "") // the dead letter is of an older event
	p.embedding <- struct{}{}
	p.indexing <- struct{}{}
	state("b", "indexed", "")

	p.call("POST", "/v1/videos", `{"id":"c","title":"unindexable"}`).want(202)
	p.embedding <- struct{}{}
	p.indexing <- struct{}{}
	state("c", "failed", "norm 7")
}

func TestIdempotencyKey(t *testing.T) {
	r := newRig(t)
	publish := func(id, key string) uint64 {
		t.Helper()
		return r.call("POST", "/v1/videos", `{"id":"`+id+`","title":"x"}`, "Idempotency-Key", key).want(202).sequence()
	}
	first := publish("a", "k1")
	if again := publish("a", "k1"); again != first {
		t.Errorf("a repetition has sequence %d, want %d", again, first)
	}
	if other := publish("a", "k2"); other == first {
		t.Error("another key is taken for a repetition")
	}
	if other := publish("b", "k1"); other == first {
		t.Error("another video under the same key is taken for a repetition")
	}
	if dropped := r.call("DELETE", "/v1/videos/a", "", "Idempotency-Key", "k1").want(202).sequence(); dropped == first {
		t.Error("a take-down is taken for a repetition of the upload")
	}
	edited := `{"id":"a","title":"another"}`
	r.call("POST", "/v1/videos", edited, "Idempotency-Key", "k2").problem(422, "idempotency-key-reused", "")
	r.published.recent.Purge() // as after a restart: the stream still knows
	if again := publish("b", "k1"); again == 0 {
		t.Error("no sequence")
	}
	r.call("POST", "/v1/videos", `{"id":"b","title":"another"}`, "Idempotency-Key", "k1").problem(422, "idempotency-key-reused", "")
	r.published.recent.Purge()
	r.call("POST", "/v1/videos", `{"id":"b","title":"another"}`, "Idempotency-Key", "k1").problem(422, "idempotency-key-reused", "")
	plain := r.call("POST", "/v1/videos", `{"id":"a","title":"x"}`).want(202).sequence()
	if r.call("POST", "/v1/videos", `{"id":"a","title":"x"}`).want(202).sequence() == plain {
		t.Error("two publishes without a key are taken for one")
	}
}

func TestPublishRefusals(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ body, field string }{
		{``, ""}, {`{`, ""}, {`{}`, "id"}, {`{"title":"x"}`, "id"}, {`{"id":"a","titel":"x"}`, "titel"}, {`{"id":"a","op":"DELETE"}`, "op"},
		{`{"id":"a","category_id":-1}`, "category_id"}, {`{"id":"a","tag_ids":["x"]}`, "tag_ids"}, {`{"id":"a","thumbnail_url":"javascript:x"}`, "thumbnail_url"},
		{`{"id":"a","frames":{"dim":5,"count":1,"data":"AAAAAAAAAAAAAA=="}}`, "frames.dim"}, {`{"id":"a","frames":{"dim":4,"count":1,"data":"AAAA"}}`, "frames.data"},
	} {
		r.call("POST", "/v1/videos", c.body, "Content-Type", "application/json").problem(http.StatusBadRequest, "invalid", c.field)
	}
	r.call("POST", "/v1/videos", `<a/>`, "Content-Type", "text/xml").problem(415, "unsupported-media-type", "Content-Type")
}

func TestExactIndexNeedsTheAllInOne(t *testing.T) {
	err := Run(t.Context(), testConfig(), Env{Env: service.NewTestEnv(t)})
	if errs.FieldOf(err) != "index" {
		t.Errorf("Run: %v, want a refusal of index", err)
	}
}
