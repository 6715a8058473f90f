package indexer

import (
	"context"
	"errors"
	"fmt"
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

// deliveries is how often the server has handed out messages of the stream.
func deliveries(t *testing.T, b *bus.Bus) uint64 {
	t.Helper()
	c, err := b.JS.Consumer(t.Context(), event.StreamEmbeddings, "indexer-"+testFingerprint)
	if err != nil {
		return 0 // there is none yet
	}
	return c.CachedInfo().Delivered.Consumer
}

func wantNoDeadLetters(t *testing.T, b *bus.Bus) {
	t.Helper()
	dead, err := b.StreamState(t.Context(), event.StreamDead)
	if err != nil || dead.Messages != 0 {
		t.Errorf("%d dead letters (%v), want none", dead.Messages, err)
	}
}

// The outage is longer than a message may be held: the one at work and those
// that wait behind it are neither given up nor delivered again, so no outage,
// however long, uses their deliveries up.
func TestLongOutageUsesNoDeliveries(t *testing.T) {
	b := testkit.Bus(t)
	const hold = time.Second
	index := &faulty{Index: vecdb.NewExact(testDim), down: 4, kind: errs.Unavailable} // 1.5 s of pauses
	known, err := newKnown(index, 100)
	if err != nil {
		t.Fatal(err)
	}
	env := service.NewTestEnv(t)
	consumer, err := b.Consume(t.Context(), bus.ConsumerConfig{
		Stream: event.StreamEmbeddings, Durable: "indexer-" + testFingerprint,
		MaxDeliver: 2, MaxHold: hold, AckWait: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consumer.Stop)
	w := &writer{
		index: index, fingerprint: testFingerprint, dim: testDim, known: known, timeout: time.Second, alive: consumer.Alive,
		state: new(state), log: env.Log, metrics: newMetrics(env.Metrics), tracer: env.Tracer.Tracer(""),
	}
	store(t, b, upsert("a", 1), upsert("b", 2), upsert("c", 3))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- w.run(ctx, consumer, 1) }()
	settled(t, b)
	if took := time.Since(began); took < hold {
		t.Fatalf("the outage took %s, expected more than %s", took, hold)
	}
	want(t, index, map[string]uint64{"a": 1, "b": 2, "c": 3})
	if n := deliveries(t, b); n != 3 {
		t.Errorf("%d deliveries of 3 messages", n)
	}
	wantNoDeadLetters(t, b)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Indexers that are started and stopped while the index is away take nothing
// from the stream.
func TestNothingIsPulledWhileTheIndexIsAway(t *testing.T) {
	b := testkit.Bus(t)
	index := &faulty{Index: vecdb.NewExact(testDim), away: true}
	store(t, b, upsert("a", 1), upsert("b", 2))
	for range 3 {
		_, stop := start(t, b, index, testConfig(vecdb.KindMilvus))
		time.Sleep(2 * watchInterval)
		stop()
	}
	if n := deliveries(t, b); n != 0 {
		t.Errorf("%d deliveries while the index was away", n)
	}
	start(t, b, index, testConfig(vecdb.KindMilvus))
	index.set(func() { index.away = false })
	await(t, "the stream is taken", func() bool { return deliveries(t, b) > 0 })
	settled(t, b)
	want(t, index, map[string]uint64{"a": 1, "b": 2})
}

// What the stream's consumer remembers is worth nothing when the index has
// lost it.
func TestEmptyIndexIsFilledAgain(t *testing.T) {
	b := testkit.Bus(t)
	_, stop := start(t, b, vecdb.NewExact(testDim), testConfig(vecdb.KindMilvus))
	store(t, b, upsert("a", 1), upsert("b", 2), tombstone("c", 3))
	settled(t, b)
	stop()
	second := vecdb.NewExact(testDim)
	start(t, b, second, testConfig(vecdb.KindMilvus))
	await(t, "all is there again", func() bool { n, _ := second.Count(t.Context()); return n == 2 })
	settled(t, b)
	want(t, second, map[string]uint64{"a": 1, "b": 2})
}

// A failure that says nothing of its reason is the index's fault where no
// embedding gets through, or where it does not answer reads either.
func TestUnknownFailureOfAllIsNoDeadLetter(t *testing.T) {
	b := testkit.Bus(t)
	index := &faulty{Index: vecdb.NewExact(testDim), kind: errs.Internal, down: 5 * bulkTries}
	for i := range 4 {
		store(t, b, upsert(fmt.Sprint("v", i), uint64(i+1)))
	}
	start(t, b, index, testConfig(vecdb.KindMilvus))
	settled(t, b)
	want(t, index, map[string]uint64{"v0": 1, "v1": 2, "v2": 3, "v3": 4})
	wantNoDeadLetters(t, b)
}

// unready is an index that fails without a reason and says why when asked.
type unready struct{ vecdb.Index }

func (unready) Ready(context.Context) error { return errors.New("half of it is loaded") }

func TestBlame(t *testing.T) {
	unknown := errors.New("something")
	w := &writer{index: unready{}, timeout: time.Second}
	err := w.blame(t.Context(), unknown)
	if errs.KindOf(err) != errs.Unavailable || !errors.Is(err, unknown) || !strings.Contains(err.Error(), "half") {
		t.Errorf("%v of kind %s, want unavailable with both reasons", err, errs.KindOf(err))
	}
	poison := errs.Field("id", "wrong")
	if err := w.blame(t.Context(), poison); err != poison {
		t.Errorf("%v, want what the index says of the embedding", err)
	}
	w.index = vecdb.NewExact(testDim)
	if err := w.blame(t.Context(), unknown); err != unknown {
		t.Errorf("%v, want the failure itself", err)
	}
}
