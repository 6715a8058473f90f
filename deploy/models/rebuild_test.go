package models

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"videosim/indexer"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/vecdb"
)

func (m *model) rebuildConfig() RebuildConfig {
	cfg := RebuildConfig{Target: Target{Fingerprint: m.fingerprint}, Milvus: m.milvusConfig(), Indexer: indexerSettings()}
	cfg.NATS.URL = m.nats.ClientURL()
	return cfg
}

func (m *model) rebuild(cfg RebuildConfig) string {
	m.t.Helper()
	env := service.NewTestEnv(m.t)
	var out bytes.Buffer
	env.Stdout = &out
	if err := Rebuild(m.t.Context(), cfg, env); err != nil {
		m.t.Fatalf("rebuild: %v\n%s", err, out.String())
	}
	return out.String()
}

// damage loses rows, and changes some in ways that their sequences do not show.
func (m *model) damage(index *vecdb.Milvus) {
	m.t.Helper()
	ctx := m.t.Context()
	records, err := index.Fetch(ctx, []string{"v0100", "v0101"})
	if err != nil || len(records) != 2 {
		m.t.Fatalf("%d records (%v)", len(records), err)
	}
	records[0].Embedding = m.vector("another video")
	records[1].Sequence, records[1].Title = 1<<40, "of a NATS server that is no more"
	back := records[0]
	back.ID = "v0299" // was deleted
	records = append(records, back)
	if err := index.Upsert(ctx, records); err != nil {
		m.t.Fatal(err)
	}
	if err := index.Delete(ctx, []string{"v0110", "v0111", "v0112"}); err != nil {
		m.t.Fatal(err)
	}
	if err := index.Barrier(ctx); err != nil {
		m.t.Fatal(err)
	}
}

// A damaged collection is made whole from EMBEDDINGS while queries go on: by
// the indexer that runs or by the command itself, after a kill at any step;
// and once more with new embeddings from VIDEOS.
func TestRebuild(t *testing.T) {
	const count = 300
	r := newRig(t)
	m := r.model("only")
	stop := m.startIndexer()
	m.startEmbedder()
	m.startGateway()
	all := videos(count, 1)
	r.publish(all...)
	r.publish(&event.VideoEvent{Id: all[count-1].Id, Op: event.VideoEvent_DELETE})
	live := all[:count-1]
	m.waitIndexed(time.Minute)
	index := m.attach()
	load := newLoad(0, 1, m) // asks only

	m.damage(index)
	if out := m.rebuild(m.rebuildConfig()); !strings.Contains(out, "299 embeddings, 299 rows, 0 missing") {
		t.Errorf("it said:\n%s", out)
	}
	m.checkIndex(index, live)

	stop()
	for _, at := range []string{"before the reset", "after the reset", "in the middle", "in the end"} {
		m.damage(index)
		runKilled(t, "REBUILD", m.rebuildConfig(), at)
		if out := m.rebuild(m.rebuildConfig()); !strings.Contains(out, "going on with") {
			t.Errorf("after a kill %s it said:\n%s", at, out)
		}
		m.checkIndex(index, live)
	}

	m.startIndexer()
	again := m.rebuildConfig()
	again.Embeddings, again.Yes = true, true
	for _, at := range []string{"after the purge", "after the reset"} {
		m.damage(index)
		runKilled(t, "REBUILD", again, at)
		m.rebuild(again)
		m.checkIndex(index, live)
	}
	load.stop()
	if load.failed != 0 || load.answered < 20 {
		t.Errorf("%d answers and %d refusals, want no refusals", load.answered, load.failed)
	}
	if n := r.deadLetters(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestRebuildRefuses(t *testing.T) {
	cfg := RebuildConfig{Target: Target{Fingerprint: "0123456789ab"}, Embeddings: true, Milvus: vecdb.DefaultMilvus("x:1")}
	if err := Rebuild(t.Context(), cfg, service.NewTestEnv(t)); errs.FieldOf(err) != "yes" {
		t.Errorf("without yes: %v", err)
	}
}

func indexerSettings() indexer.Settings {
	return indexer.Settings{BatchEmbeddings: 200, MaxPending: 1000, KnownSequences: 10000, AckWait: 5 * time.Second, MaxDeliver: 3, WriteTimeout: 10 * time.Second}
}
