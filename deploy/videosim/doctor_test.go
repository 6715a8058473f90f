package videosim

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/vecdb"
)

// doctor runs the command and returns what it printed.
func doctor(t *testing.T, cfg DoctorConfig) (string, error) {
	t.Helper()
	env := service.NewTestEnv(t)
	var out bytes.Buffer
	env.Stdout = &out
	err := Doctor(t.Context(), cfg, env)
	return out.String(), err
}

func wantLines(t *testing.T, out string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(out, line) {
			t.Errorf("no %q in:\n%s", line, out)
		}
	}
}

// What is well is said to be well, collection by collection; what is not ends
// the command with an error, and all else is looked at all the same.
func TestDoctor(t *testing.T) {
	server := testkit.NATS(t)
	b := testkit.Connect(t, server)
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	milvus, err := testkit.StartMilvus(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = milvus.Stop() })
	cfg := DoctorConfig{NATS: bus.Config{URL: server.ClientURL()}, Index: vecdb.Config{Kind: vecdb.KindMilvus, Milvus: vecdb.DefaultMilvus(milvus.Address())}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := vecdb.OpenMilvus(ctx, cfg.Index.Milvus, "0123456789ab", 4)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Upsert(ctx, []vecdb.Record{{ID: "a", Embedding: []float32{1, 0, 0, 0}, Sequence: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Barrier(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := doctor(t, cfg)
	if err != nil {
		t.Errorf("all is well, but: %v\n%s", err, out)
	}
	wantLines(t, out, "ok     jetstream", "?      sync", "ok     VIDEOS: 0 messages", "ok     milvus: version ", ", 1 collections",
		"ok     videos_0123456789ab: 1 rows, ", "hnsw index; promoted")

	if err := milvus.Kill(); err != nil {
		t.Fatal(err)
	}
	cfg.Index.Milvus.ConnectTimeout, cfg.Index.Milvus.Timeout = time.Second, time.Second
	cfg.Bundle = t.TempDir()
	out, err = doctor(t, cfg)
	if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "2 of the checks") {
		t.Errorf("without Milvus and with an empty bundle: %v", err)
	}
	wantLines(t, out, "WRONG  bundle", "WRONG  milvus: ", milvus.Address(), "ok     VIDEOS")

	cfg = DoctorConfig{NATS: bus.Config{URL: "nats://me:hush@127.0.0.1:1", ConnectTimeout: 300 * time.Millisecond}}
	out, err = doctor(t, cfg)
	if errs.KindOf(err) != errs.Invalid || strings.Contains(out, "hush") {
		t.Errorf("without NATS: %v\n%s", err, out)
	}
	wantLines(t, out, "WRONG  nats: ", "127.0.0.1:1")
}
