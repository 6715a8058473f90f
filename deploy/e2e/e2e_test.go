// Package e2e proves the suite's promises on the real thing: a NATS server
// with JetStream on disk, a Milvus server, and the services as processes.
package e2e

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/testkit"
	"videosim/shared/testkit/tinybundle"
	"videosim/shared/vecdb"
	"videosim/shared/video"
)

const (
	published = 500
	edited    = 50
	deleted   = 50
	broken    = 3
)

// suite is what one run of the story holds.
type suite struct {
	t           *testing.T
	ctx         context.Context
	fingerprint string
	dim         int
	bus         *bus.Bus
	index       *vecdb.Milvus
	embedder    *program
	gateway     string // its base URL
	videos      []video.Video
	latest      map[string]uint64 // id → sequence of its last acknowledged event
	gone        map[string]bool   // ids whose last event is a delete
}

// TestFromEventToAnswer publishes 500 videos, edits 50 and deletes 50 of them,
// adds events that no model can read, and kills the embedder in the middle.
// Then every promise about what was acknowledged must hold.
func TestFromEventToAnswer(t *testing.T) {
	s := newSuite(t)
	stop := s.watchVersions()

	s.publish(s.videos)
	s.waitEmbedded(published / 5)
	s.embedder.kill()
	s.edit(s.videos[:edited])
	s.delete(s.videos[edited : edited+deleted])
	s.publishBroken()
	s.embedder.restart()
	s.waitSearchable()

	stop()
	s.checkNothingLost()
	s.checkRows()
	s.checkOneModel()
	s.checkDeletedAreGone()
	s.checkScores()
}

func newSuite(t *testing.T) *suite {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	folder := filepath.Join(t.TempDir(), "bundle")
	tinybundle.Write(t, folder)
	manifest, err := bundle.ReadManifest(folder)
	if err != nil {
		t.Fatal(err)
	}
	nats := testkit.NATS(t)
	milvus := testkit.Milvus(t)
	s := &suite{
		t: t, ctx: ctx, fingerprint: manifest.Fingerprint, dim: manifest.EmbeddingDim,
		bus: testkit.Connect(t, nats), latest: map[string]uint64{}, gone: map[string]bool{},
	}
	if err := s.bus.EnsureStreams(ctx); err != nil {
		t.Fatal(err)
	}
	if s.index, err = vecdb.OpenMilvus(ctx, vecdb.DefaultMilvus(milvus), s.fingerprint, s.dim); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.index.Close() })
	s.videos = corpus(t, manifest.FrameDim)

	common := []string{"--bundle", folder, "--nats-url", nats.ClientURL(), "--admin-listen", ""}
	onMilvus := append(slices.Clone(common), "--index", "milvus", "--milvus-address", milvus)
	listen := freeAddress(t)
	s.gateway = "http://" + listen
	s.embedder = start(t, "embedder", build(t, "embedder", true), append(common, "--ack-wait", "5s", "--batch-videos", "16")...)
	start(t, "indexer", build(t, "indexer", false), onMilvus...)
	start(t, "gateway", build(t, "gateway", false), append(onMilvus, "--listen", listen)...)
	eventually(t, time.Minute, "the gateway serves", func() error {
		return s.get("/openapi.json", new(map[string]any))
	})
	return s
}

// corpus is 500 synthetic videos.
func corpus(t *testing.T, frameDim int) []video.Video {
	t.Helper()
	dir := t.TempDir()
	cfg, err := video.SynthPreset("tiny", published, published/2, 7)
	if err != nil {
		t.Fatal(err)
	}
	cfg.FrameDim = frameDim
	if err := video.Synthesize(dir, cfg, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	folder, err := video.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	var all []video.Video
	for _, set := range []*video.Set{folder.Pointwise, folder.Pairwise} {
		for i := range set.Len() {
			v, err := set.Video(i)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, v)
		}
	}
	if len(all) != published {
		t.Fatalf("expected %d videos, found %d", published, len(all))
	}
	return all
}

// --- what producers do ---

func (s *suite) send(e *event.VideoEvent) {
	s.t.Helper()
	p, err := event.NewPublisher(s.bus.Conn, event.PublisherConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	seq, err := p.Publish(s.ctx, e)
	if err != nil {
		s.t.Fatalf("publish %s: %v", e.GetId(), err)
	}
	s.latest[e.GetId()] = seq
	s.gone[e.GetId()] = e.GetOp() == event.VideoEvent_DELETE
}

func (s *suite) publish(videos []video.Video) {
	for _, v := range videos {
		s.send(event.FromVideo(v))
	}
}

func (s *suite) edit(videos []video.Video) {
	for _, v := range videos {
		v.Title = "改 " + v.Title
		s.send(event.FromVideo(v))
	}
}

func (s *suite) delete(videos []video.Video) {
	for _, v := range videos {
		s.send(&event.VideoEvent{Id: v.ID, Op: event.VideoEvent_DELETE})
	}
}

// publishBroken sends what a careless producer would, past the suite's own
// publisher: no JSON, a field nobody knows, frames of a wrong size.
func (s *suite) publishBroken() {
	for i, payload := range []string{
		`{"id":`,
		`{"id":"broken-1","titel":"x"}`,
		`{"id":"broken-2","frames":{"dim":7,"count":1,"data":"AAAA"}}`,
	} {
		id := fmt.Sprintf("broken-%d", i)
		ack, err := s.bus.JS.Publish(s.ctx, event.VideoSubject(id), []byte(payload))
		if err != nil {
			s.t.Fatal(err)
		}
		s.latest[id] = ack.Sequence
	}
}

// --- waiting ---

// waitEmbedded returns once n embeddings are stored.
func (s *suite) waitEmbedded(n uint64) {
	eventually(s.t, 2*time.Minute, fmt.Sprintf("%d embeddings stored", n), func() error {
		state, err := s.bus.StreamState(s.ctx, event.StreamEmbeddings)
		if err == nil && state.Messages < n {
			err = fmt.Errorf("found %d", state.Messages)
		}
		return err
	})
}

// waitSearchable returns once an answer says that it has seen every event.
func (s *suite) waitSearchable() {
	var last uint64
	for _, seq := range s.latest {
		last = max(last, seq)
	}
	query := map[string]any{
		"positive": []any{map[string]any{"id": s.videos[0].ID}}, "k": 1, "on_missing": "skip",
		"min_sequence": last, "wait_ms": 5000,
	}
	eventually(s.t, 4*time.Minute, fmt.Sprintf("sequence %d searchable", last), func() error {
		var a answer
		if err := s.post("/v1/similar", query, &a); err != nil {
			return err
		}
		if a.IndexedSequence < last {
			s.t.Fatalf("an answer to min_sequence %d reflects only %d", last, a.IndexedSequence)
		}
		return nil
	})
}

// watchVersions samples the indexed sequences of some videos until it is
// stopped: none may ever go down (I2).
func (s *suite) watchVersions() (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	ids := make([]string, 0, 2*edited)
	for _, v := range s.videos[:2*edited] {
		ids = append(ids, v.ID)
	}
	done := make(chan error, 1)
	samples := 0
	go func() {
		seen := map[string]uint64{}
		for ctx.Err() == nil {
			records, err := s.index.Fetch(ctx, ids)
			if err != nil {
				continue // Milvus loads the collection; what matters is what it answers
			}
			samples++
			for _, r := range records {
				if r.Sequence < seen[r.ID] {
					done <- fmt.Errorf("%s went from sequence %d back to %d", r.ID, seen[r.ID], r.Sequence)
					return
				}
				seen[r.ID] = r.Sequence
			}
			time.Sleep(20 * time.Millisecond)
		}
		done <- nil
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("I2: %v", err)
		}
		if samples < 10 {
			s.t.Errorf("I2: looked %d times, expected at least 10", samples)
		}
	}
}

// --- the promises ---

// checkNothingLost is I1: every acknowledged event is indexed at its sequence
// or a later one, deleted, or a dead letter with a reason.
func (s *suite) checkNothingLost() {
	for id, seq := range s.latest {
		var v state
		if err := s.get("/v1/videos/"+id, &v); err != nil {
			s.t.Errorf("I1: %s: %v", id, err)
			continue
		}
		want := "indexed"
		switch {
		case len(id) > 7 && id[:7] == "broken-":
			want = "failed"
		case s.gone[id]:
			want = "deleted"
		}
		if v.State != want || v.Sequence < seq {
			s.t.Errorf("I1: %s: expected %s at %d or later, found %s at %d", id, want, seq, v.State, v.Sequence)
		}
		if want == "indexed" && v.Indexed < seq {
			s.t.Errorf("I1: %s: expected version %d in the index, found %d", id, seq, v.Indexed)
		}
		if want == "failed" && v.Reason == "" {
			s.t.Errorf("I1: %s is a dead letter without a reason", id)
		}
	}
	dead, err := s.bus.DeadLetters(s.ctx, bus.DeadFilter{})
	if err != nil || len(dead) != broken {
		s.t.Errorf("I1: expected %d dead letters, found %d (%v)", broken, len(dead), err)
	}
}

// live are the ids that must be in the index.
func (s *suite) live() []string {
	var ids []string
	for _, v := range s.videos {
		if !s.gone[v.ID] {
			ids = append(ids, v.ID)
		}
	}
	return ids
}

// checkRows is I2, I3 and I5: one row an id, of the last sequence, 256 finite
// numbers of norm 1.
func (s *suite) checkRows() {
	ids := s.live()
	records, err := s.index.Fetch(s.ctx, ids)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(records) != len(ids) {
		s.t.Errorf("I3: expected %d rows, found %d", len(ids), len(records))
	}
	for _, r := range records {
		if r.Sequence != s.latest[r.ID] {
			s.t.Errorf("I2: %s: expected sequence %d, found %d", r.ID, s.latest[r.ID], r.Sequence)
		}
		norm := 0.0
		for _, x := range r.Embedding {
			norm += float64(x) * float64(x)
		}
		if len(r.Embedding) != s.dim || !(math.Abs(math.Sqrt(norm)-1) <= 1e-3) {
			s.t.Errorf("I5: %s: expected %d finite numbers of norm 1, found %d of norm %v", r.ID, s.dim, len(r.Embedding), math.Sqrt(norm))
		}
	}
	if n, err := s.index.Count(s.ctx); err != nil || n != int64(len(ids)) {
		s.t.Errorf("I3: expected a count of %d, found %d (%v)", len(ids), n, err)
	}
}

// checkOneModel is I4: every answer names the one model, and every embedding
// in the stream is of it.
func (s *suite) checkOneModel() {
	for _, id := range s.live()[:20] {
		var a answer
		if err := s.get("/v1/videos/"+id+"/similar?k=10", &a); err != nil {
			s.t.Fatal(err)
		}
		if a.Model != s.fingerprint || len(a.Results) != 10 {
			s.t.Errorf("I4: expected 10 results of model %s, found %d of %s", s.fingerprint, len(a.Results), a.Model)
		}
		for _, r := range a.Results {
			if r.ID == id {
				s.t.Errorf("%s is among the videos like itself", id)
			}
		}
		e, err := s.bus.LastEmbedding(s.ctx, s.fingerprint, id)
		if err != nil || e.GetFingerprint() != s.fingerprint {
			s.t.Errorf("I4: %s: expected an embedding of %s, found %q (%v)", id, s.fingerprint, e.GetFingerprint(), err)
		}
	}
}

func (s *suite) checkDeletedAreGone() {
	for id, gone := range s.gone {
		if !gone {
			continue
		}
		if err := s.get("/v1/videos/"+id+"/similar", new(answer)); statusOf(err) != 404 {
			s.t.Errorf("%s was deleted; expected 404 for videos like it, found %v", id, err)
		}
	}
}

// checkScores is I9: the gateway's score of a pair is the dot product of the
// stored embeddings, and its evaluation is Spearman over these.
func (s *suite) checkScores() {
	ids := s.live()
	var pairs [][2]string
	var cosines, labels []float64
	records, err := s.index.Fetch(s.ctx, ids)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range 100 {
		a, b := records[i], records[(i*37+11)%len(records)]
		pairs = append(pairs, [2]string{a.ID, b.ID})
		cosines = append(cosines, eval.Cosine(a.Embedding, b.Embedding))
		labels = append(labels, float64(i%21)/20)
	}
	var scored struct {
		Results []struct {
			Cosine *float64 `json:"cosine"`
		} `json:"results"`
	}
	if err := s.post("/v1/similarity", map[string]any{"pairs": pairs}, &scored); err != nil {
		s.t.Fatal(err)
	}
	if len(scored.Results) != len(pairs) {
		s.t.Fatalf("I9: expected %d scores, found %d", len(pairs), len(scored.Results))
	}
	for i, r := range scored.Results {
		if r.Cosine == nil || math.Abs(*r.Cosine-cosines[i]) > 1e-6 {
			s.t.Errorf("I9: %v: expected %v, found %v", pairs[i], cosines[i], r.Cosine)
		}
	}
	got, err := s.evaluate(pairs, labels)
	if err != nil {
		s.t.Fatal(err)
	}
	if want := eval.Spearman(labels, cosines); got.Pairs != len(pairs) || math.Abs(got.Spearman-want) > 1e-6 {
		s.t.Errorf("I9: expected Spearman %v over %d pairs, found %+v", want, len(pairs), got)
	}
}
