package models

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/service"
	"videosim/shared/vecdb"
)

// killAt makes this test binary a command that kills itself at a step.
const killAt = "VIDEOSIM_TEST_KILL_AT"

func TestMain(m *testing.M) {
	if at := os.Getenv(killAt); at != "" {
		killed(at)
		os.Exit(3) // it ought to be dead
	}
	os.Exit(m.Run())
}

// killed runs the command that the environment describes, and dies at the step.
func killed(at string) {
	die := func(step string) {
		if step == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	env := service.NewEnv(service.LogConfig{Level: "error", Format: "text"}, nil, os.Stdout, os.Stderr)
	var err error
	if text := os.Getenv("PROMOTE"); text != "" {
		var cfg PromoteConfig
		err = json.Unmarshal([]byte(text), &cfg)
		cfg.step = die
		if err == nil {
			err = Promote(context.Background(), cfg, env)
		}
	} else {
		var cfg RebuildConfig
		err = json.Unmarshal([]byte(os.Getenv("REBUILD")), &cfg)
		cfg.step = die
		if err == nil {
			err = Rebuild(context.Background(), cfg, env)
		}
	}
	fmt.Println(err)
}

// runKilled runs a command in a process of its own that is killed at a step.
func runKilled(t *testing.T, name string, cfg any, at string) {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killAt+"="+at, name+"="+string(text))
	out, err := cmd.CombinedOutput()
	state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !state.Signaled() || state.Signal() != syscall.SIGKILL {
		t.Fatalf("killed at %q: %v; it said:\n%s", at, err, out)
	}
}

// promote runs the command and returns what it printed.
func (r *rig) promote(change func(*PromoteConfig)) (string, error) {
	r.t.Helper()
	cfg := r.promoteConfig()
	change(&cfg)
	env := service.NewTestEnv(r.t)
	var out bytes.Buffer
	env.Stdout = &out
	err := Promote(r.t.Context(), cfg, env)
	return out.String(), err
}

func (r *rig) promoteConfig() PromoteConfig {
	cfg := PromoteConfig{WithoutLabels: true, Epsilon: 0.01, Wait: time.Minute, Milvus: r.milvusConfig()}
	cfg.NATS.URL = r.nats.ClientURL()
	return cfg
}

// wantRefused: the command changed nothing and said why.
func wantRefused(t *testing.T, out string, err error, says ...string) {
	t.Helper()
	if err == nil || errs.KindOf(err) != errs.Invalid && errs.KindOf(err) != errs.NotFound {
		t.Errorf("error %v of kind %s, want a refusal; it said:\n%s", err, errs.KindOf(err), out)
		return
	}
	for _, part := range says {
		if !strings.Contains(out+err.Error(), part) {
			t.Errorf("expected a word about %q, found:\n%s%v", part, out, err)
		}
	}
}

func (r *rig) wantAlias(index *vecdb.Milvus, want *model) {
	r.t.Helper()
	if now, err := index.Promoted(r.t.Context()); err != nil || now != want.fingerprint {
		r.t.Errorf("the alias points to %q (%v), want %s", now, err, want.fingerprint)
	}
}

// labels writes judged pairs that agree with a model.
func (m *model) labels(n int) string {
	m.t.Helper()
	path := filepath.Join(m.t.TempDir(), "label.tsv")
	var text strings.Builder
	all := videos(n, 1)
	for i := range n - 1 {
		label := (eval.Cosine(m.vector(all[i].Title), m.vector(all[i+1].Title)) + 1) / 2
		fmt.Fprintf(&text, "%s\t%s\t%v\n", all[i].Id, all[i+1].Id, label)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// Each gate refuses what it is there for and says what it expected and found;
// then the alias moves while videos are published and queries are asked, with
// a kill in each step of it, and back.
func TestPromote(t *testing.T) {
	const count = 200
	r := newRig(t)
	old, fresh := r.model("old"), r.model("fresh")
	r.publish(videos(count, 1)...)
	old.startIndexer()
	old.startEmbedder()
	old.startGateway()
	to := func(m *model) func(*PromoteConfig) { return func(c *PromoteConfig) { c.Fingerprint = m.fingerprint } }

	out, err := r.promote(func(c *PromoteConfig) { c.Rollback = true })
	wantRefused(t, out, err, "nothing to go back from")
	index := old.attach()
	if out, err = r.promote(to(old)); err != nil {
		t.Fatalf("the first promotion: %v\n%s", err, out)
	}
	r.wantAlias(index, old)
	out, err = r.promote(func(c *PromoteConfig) { c.Rollback = true })
	wantRefused(t, out, err, "was the first model")

	out, err = r.promote(to(fresh))
	wantRefused(t, out, err, "no collection videos_"+fresh.fingerprint)
	fresh.startIndexer()
	freshIndex := fresh.attach()
	out, err = r.promote(to(fresh))
	wantRefused(t, out, err, "nothing pending", "embedder-"+fresh.fingerprint, "every video embedded: expected 200 videos, found 0")
	fresh.startEmbedder()
	fresh.startGateway()
	fresh.waitIndexed(time.Minute)

	testGates(t, r, old, fresh, freshIndex, count)
	r.wantAlias(index, old)
	testKills(t, r, old, fresh, index, count)
}

func testGates(t *testing.T, r *rig, old, fresh *model, index *vecdb.Milvus, count int) {
	check := func(labels string) (string, error) {
		return r.promote(func(c *PromoteConfig) {
			c.Fingerprint, c.Check, c.Labels, c.WithoutLabels = fresh.fingerprint, true, labels, labels == ""
		})
	}
	if out, err := check(fresh.labels(count)); err != nil || strings.Count(out, "ok ") != 6 {
		t.Errorf("all gates hold, but: %v\n%s", err, out)
	}
	out, err := check(old.labels(count))
	wantRefused(t, out, err, "FAILED Spearman", "(1.0000 of "+old.fingerprint)

	records, err := index.Fetch(t.Context(), []string{"v0007"})
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records (%v)", len(records), err)
	}
	mixed := records[0]
	mixed.Embedding = old.vector(mixed.Title)
	write := func(change func() error) {
		t.Helper()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if err := index.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	write(func() error { return index.Upsert(t.Context(), []vecdb.Record{mixed}) })
	out, err = check("")
	wantRefused(t, out, err, "FAILED embeddings", "v0007", "found 1 rows")
	write(func() error { return index.Delete(t.Context(), []string{"v0007"}) })
	out, err = check("")
	wantRefused(t, out, err, "FAILED rows: expected 200, found 199, of which 1 are missing", "v0007")
	write(func() error { return index.Upsert(t.Context(), records) })
}

// testKills promotes and goes back under load, killed at each step first. The
// load itself fails at an answer that is neither 200 by its model nor 503, and
// here Milvus is never away, so that 503 fails, too.
func testKills(t *testing.T, r *rig, old, fresh *model, index *vecdb.Milvus, count int) {
	load := newLoad(count, 1, old, fresh)
	forward, back := r.promoteConfig(), r.promoteConfig()
	forward.Fingerprint, back.Rollback = fresh.fingerprint, true
	finish := func(c PromoteConfig) {
		t.Helper()
		if out, err := r.promote(func(cfg *PromoteConfig) { *cfg = c }); err != nil {
			t.Fatalf("after a kill: %v\n%s", err, out)
		}
	}
	for _, kill := range []struct {
		at    string
		after *model // whom the alias points to then
	}{{"before the note", old}, {"before the alias", old}, {"after the alias", fresh}} {
		runKilled(t, "PROMOTE", forward, kill.at)
		r.wantAlias(index, kill.after)
		finish(forward)
		r.wantAlias(index, fresh)
		finish(back)
		r.wantAlias(index, old)
	}
	runKilled(t, "PROMOTE", forward, "after the alias")
	finish(back) // the other way out of a broken promotion
	r.wantAlias(index, old)
	for _, kill := range []struct {
		at    string
		after *model
	}{{"before the alias", fresh}, {"after the alias", old}} {
		finish(forward)
		runKilled(t, "PROMOTE", back, kill.at)
		r.wantAlias(index, kill.after)
		finish(back)
		r.wantAlias(index, old)
	}
	version := load.stop()
	if load.failed != 0 || load.answered < 20 {
		t.Errorf("%d answers and %d refusals, want no refusals", load.answered, load.failed)
	}
	for _, m := range []*model{old, fresh} {
		m.waitIndexed(time.Minute)
		m.checkIndex(m.attach(), videos(count, version))
	}
	if n := r.deadLetters(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestPromoteConfig(t *testing.T) {
	good := PromoteConfig{Target: Target{Fingerprint: "0123456789ab"}, WithoutLabels: true, Wait: time.Second, Milvus: vecdb.DefaultMilvus("x:1")}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*PromoteConfig){
		"rollback":       func(c *PromoteConfig) { c.Rollback = true },
		"labels":         func(c *PromoteConfig) { c.WithoutLabels = false },
		"epsilon":        func(c *PromoteConfig) { c.Epsilon = -1 },
		"wait":           func(c *PromoteConfig) { c.Wait = 0 },
		"milvus-address": func(c *PromoteConfig) { c.Milvus.Address = "" },
	} {
		c := good
		change(&c)
		if err := c.Validate(); errs.FieldOf(err) != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, target := range []Target{{}, {Bundle: "a", Fingerprint: "0123456789ab"}, {Fingerprint: "../x"}} {
		if fingerprint, err := target.fingerprint(); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%+v: %q, %v", target, fingerprint, err)
		}
	}
}

// A collection whose index was never built is not promoted: the test server
// cannot build DiskANN, and calls such an index finished.
func TestPromoteNeedsAnIndex(t *testing.T) {
	r := newRig(t)
	m := r.model("unindexed")
	cfg := r.milvusConfig()
	cfg.Index = vecdb.IndexDiskANN
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	index, err := vecdb.OpenMilvus(ctx, cfg, m.fingerprint, dim)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = index.Close() })
	if err := index.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	records := make([]vecdb.Record, 2000) // Milvus indexes no segment of less than 1,024
	for i := range records {
		records[i] = vecdb.Record{ID: fmt.Sprint(i), Embedding: m.vector(fmt.Sprint(i)), Sequence: uint64(i + 1)}
	}
	if err := index.Upsert(ctx, records); err != nil {
		t.Fatal(err)
	}
	if err := r.bus.EnsureStreams(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := r.promote(func(c *PromoteConfig) { c.Fingerprint, c.Check, c.Wait = m.fingerprint, true, 5*time.Second })
	wantRefused(t, out, err, "FAILED index", "2000 of 2000 rows", "diskann")
}
