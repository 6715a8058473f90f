package models

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Milvus is away when the services start, comes, and is killed and restarted
// while videos are published and queries are asked. The services start all the
// same, the gateway answers 503 with the reason meanwhile, readiness names the
// collection, everything published in the outage is indexed after it without a
// dead letter, and nobody restarts anything but Milvus.
func TestMilvusOutage(t *testing.T) {
	r := newRig(t)
	if err := r.milvus.Kill(); err != nil {
		t.Fatal(err)
	}
	m := r.model("only")
	m.startIndexer()
	m.startEmbedder()
	m.startGateway()
	r.publish(videos(300, 1)...)

	a, err := m.get("/v1/videos/v0001/similar")
	if err != nil || a.Status != http.StatusServiceUnavailable || a.Kind != "application/problem+json" || !strings.Contains(a.Detail, r.milvus.Address()) {
		t.Errorf("without Milvus: %+v (%v), want 503 with the reason", a, err)
	}
	for name, env := range map[string]string{"gateway": ready(m.env), "indexer": ready(m.indexerEnv)} {
		if !strings.Contains(env, "videos_"+m.fingerprint) || !strings.Contains(env, `"ready":false`) {
			t.Errorf("readiness of the %s without Milvus: %s", name, env)
		}
	}
	restart(t, m)
	await(t, 2*time.Minute, "a query is answered", m.answers)

	began := time.Now()
	load := newLoad(300, 1, m)
	for range rounds(t) {
		m.outage()
	}
	version := load.stop()
	m.waitIndexed(2 * time.Minute)

	if load.failed == 0 || load.answered == 0 {
		t.Errorf("%d answers and %d refusals, want some of both", load.answered, load.failed)
	}
	m.checkIndex(m.attach(), videos(300, version))
	if n := r.deadLetters(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	t.Logf("%d answers, %d refusals (503), %d versions of 300 videos in %s", load.answered, load.failed, version, time.Since(began).Round(time.Second))
}

// outage kills Milvus, brings it back after 3 s and waits until it answers.
func (m *model) outage() {
	m.t.Helper()
	time.Sleep(time.Second)
	if err := m.milvus.Kill(); err != nil {
		m.t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if text := ready(m.env); !strings.Contains(text, "does not answer for") {
		m.t.Errorf("readiness in the outage: %s", text)
	}
	restart(m.t, m)
	await(m.t, 2*time.Minute, "a query is answered", m.answers)
	time.Sleep(time.Second)
}

// rounds is how often Milvus is killed: once, or as `make soak` says.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SOAK_ROUNDS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("SOAK_ROUNDS: %v", err)
	}
	return n
}

func restart(t *testing.T, m *model) {
	t.Helper()
	if err := m.milvus.Restart(); err != nil {
		t.Fatal(err)
	}
}

// answers is nil once a query is answered from the index.
func (m *model) answers() error {
	a, err := m.get("/v1/videos/v0001/similar?k=5")
	if err == nil && (a.Status != http.StatusOK || len(a.Results) != 5) {
		err = fmt.Errorf("%d: %s", a.Status, a.Detail)
	}
	return err
}

// load publishes new versions of all videos and asks the gateways in turn for
// videos like one of them until it is stopped.
type load struct {
	cancel           context.CancelFunc
	running          sync.WaitGroup
	version          int
	answered, failed int
}

func newLoad(count, version int, asked ...*model) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, version: version}
	asked[0].t.Cleanup(func() { l.stop() })
	l.running.Go(func() {
		for ctx.Err() == nil {
			l.version++
			asked[0].publish(videos(count, l.version)...)
			time.Sleep(time.Second)
		}
	})
	l.running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := l.ask(asked[i%len(asked)]); err != nil {
				asked[0].t.Error(err)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return l
}

// ask takes an answer of the model or a 503 that says why; nothing else.
func (l *load) ask(m *model) error {
	a, err := m.get("/v1/videos/v0001/similar?k=5")
	switch {
	case err != nil:
		return err
	case a.Status == http.StatusOK && a.Model == m.fingerprint:
		l.answered++
	case a.Status == http.StatusServiceUnavailable && a.Kind == "application/problem+json" && a.Detail != "":
		l.failed++
	default:
		return errors.New(fmt.Sprint("unexpected answer: ", a))
	}
	return nil
}

// stop ends the load and returns the version published last.
func (l *load) stop() int {
	l.cancel()
	l.running.Wait()
	return l.version
}
