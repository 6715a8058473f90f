package bus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/testkit"
)

func embedderConfig() bus.ConsumerConfig { return quick("embedder-fp") }

func indexerConfig() bus.ConsumerConfig {
	cfg := quick("indexer-fp")
	cfg.Stream, cfg.Filter = event.StreamEmbeddings, event.EmbeddingFilter("fp")
	return cfg
}

func follow(t testing.TB, b *bus.Bus) *bus.Progress {
	t.Helper()
	p := bus.NewProgress(b, "fp")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// embed does what an embedder does with one message.
func embed(t testing.TB, b *bus.Bus, m *bus.Message) {
	t.Helper()
	id, err := event.IDFromSubject(m.Subject)
	must(t, err)
	_, err = b.StoreEmbedding(within(t), embedding(id, m.Sequence))
	must(t, err)
	must(t, m.Ack(within(t)))
}

// stays fails where the progress moves off want.
func stays(t testing.TB, p *bus.Progress, want uint64) {
	t.Helper()
	for range 30 {
		if got := p.Sequence(); got != want {
			t.Fatalf("indexed sequence %d, expected it to stay %d", got, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	p := follow(t, b)
	must(t, p.Wait(within(t), 0))
	first := publish(t, b, "first", "before any consumer")
	stays(t, p, 0)
	embedder, indexer := consume(t, b, embedderConfig()), consume(t, b, indexerConfig())
	stays(t, p, 0)
	embed(t, b, one(t, embedder))
	stays(t, p, 0) // embedded, not indexed
	must(t, one(t, indexer).Ack(within(t)))
	must(t, p.Wait(within(t), first))

	seq := publish(t, b, "dead", "counts as seen")
	must(t, one(t, embedder).Fail(within(t), errs.New(errs.Invalid, "bad")))
	must(t, p.Wait(within(t), seq))

	seq = publish(t, b, "slow", "fails for now")
	must(t, one(t, embedder).Fail(within(t), errs.New(errs.Unavailable, "away")))
	stays(t, p, seq-1)
	embed(t, b, one(t, embedder))
	must(t, one(t, indexer).Ack(within(t)))
	must(t, p.Wait(within(t), seq))

	ctx, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	if err := p.Wait(ctx, seq+1); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("waiting for what nobody published: %v, expected unavailable", err)
	}
	again := follow(t, b) // a gateway that starts later knows the same
	must(t, again.Wait(within(t), seq))
}

// TestProgressOverReplacedEvents: an event is replaced while the embedder
// works on it, and its neighbours are done. The consumer's floor passes it,
// but nothing of it is searchable.
func TestProgressOverReplacedEvents(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	p := follow(t, b)
	embedder, indexer := consume(t, b, embedderConfig()), consume(t, b, indexerConfig())
	for _, id := range []string{"a", "b"} {
		publish(t, b, id, "new")
		embed(t, b, one(t, embedder))
		must(t, one(t, indexer).Ack(within(t)))
	}
	must(t, p.Wait(within(t), 2))
	publish(t, b, "a", "edit") // 3
	slow := one(t, embedder)
	publish(t, b, "b", "edit") // 4
	embed(t, b, one(t, embedder))
	must(t, one(t, indexer).Ack(within(t)))
	publish(t, b, "a", "second edit") // 5 replaces 3
	second := one(t, embedder)
	eventually(t, func() error {
		if info, err := embedder.Info(within(t)); err != nil || info.AckFloor != 4 {
			return fmt.Errorf("%+v %w", info, err)
		}
		return nil
	})
	stays(t, p, 2)
	must(t, slow.Ack(within(t))) // gave up on it: replaced
	embed(t, b, second)
	stays(t, p, 2)
	must(t, one(t, indexer).Ack(within(t)))
	must(t, p.Wait(within(t), 5))
}

// TestProgressOverReplacedEmbeddings is the same between embedder and indexer.
func TestProgressOverReplacedEmbeddings(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	p := follow(t, b)
	embedder, indexer := consume(t, b, embedderConfig()), consume(t, b, indexerConfig())
	publish(t, b, "a", "new") // 1
	embed(t, b, one(t, embedder))
	slow := one(t, indexer)
	publish(t, b, "b", "new") // 2
	embed(t, b, one(t, embedder))
	must(t, one(t, indexer).Ack(within(t)))
	publish(t, b, "a", "edit") // 3; its embedding replaces the one in the indexer's hands
	embed(t, b, one(t, embedder))
	second := one(t, indexer)
	stays(t, p, 0)
	must(t, slow.Ack(within(t)))
	stays(t, p, 0)
	must(t, second.Ack(within(t)))
	must(t, p.Wait(within(t), 3))
}

func TestProgressIgnoresAnotherProcessesMemory(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	b, old := testkit.Connect(t, s), testkit.Connect(t, s)
	seq := publish(t, b, "a", "new")
	embed(t, b, one(t, consume(t, b, embedderConfig())))
	cfg := indexerConfig()
	cfg.Fresh = true
	left, err := old.Consume(within(t), cfg)
	must(t, err)
	must(t, one(t, left).Ack(within(t)))
	left.Stop()
	old.Close()

	p := follow(t, b)
	stays(t, p, 0) // that index is gone, ours is empty
	must(t, one(t, consume(t, b, cfg)).Ack(within(t)))
	must(t, p.Wait(within(t), seq))
}

func TestProgressAfterAPurge(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	p := follow(t, b)
	consume(t, b, embedderConfig())
	consume(t, b, indexerConfig())
	var seq uint64
	for i := range 5 {
		seq = raw(t, b, event.VideoSubject(fmt.Sprint("v", i)), nil, nil)
	}
	s, err := b.JS.Stream(within(t), event.StreamVideos)
	must(t, err)
	must(t, s.Purge(within(t))) // by hand
	must(t, p.Wait(within(t), seq))
}

// storm runs embedders and an indexer over random edits.
type storm struct {
	t         *testing.T
	srv       *bus.Server
	b         *bus.Bus
	publisher *event.Publisher

	mu        sync.Mutex
	published map[string][]uint64
	index     map[string]uint64 // id → source sequence
}

func newStorm(t *testing.T) *storm {
	srv := testkit.NATS(t)
	return &storm{t: t, srv: srv, b: testkit.Connect(t, srv), published: map[string][]uint64{}, index: map[string]uint64{}}
}

// start runs two embedders and an indexer until stop.
func (s *storm) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for range 2 {
		embedder := consume(s.t, testkit.Connect(s.t, s.srv), embedderConfig())
		running.Go(func() { s.embedder(ctx, embedder) })
	}
	indexer := consume(s.t, s.b, indexerConfig())
	running.Go(func() { s.indexer(ctx, indexer) })
	publisher, err := event.NewPublisher(s.b.Conn, event.PublisherConfig{})
	must(s.t, err)
	s.publisher = publisher
	return func() { cancel(); running.Wait() }
}

// publish returns the sequence of a new event of a video.
func (s *storm) publish(id string) uint64 {
	sequence, err := s.publisher.Publish(within(s.t), &event.VideoEvent{Id: id})
	must(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published[id] = append(s.published[id], sequence)
	return sequence
}

// TestProgressInAStorm states invariant I6: whatever the indexed sequence says
// at any moment, the index shows at least that of every video.
func TestProgressInAStorm(t *testing.T) {
	t.Parallel()
	s := newStorm(t)
	p := follow(t, s.b)
	stop := s.start()
	checks, last := 0, uint64(0)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		last = s.publish(fmt.Sprint("v", rand.N(12)))
		s.check(p.Sequence())
		checks++
		time.Sleep(rand.N(8 * time.Millisecond))
	}
	must(t, p.Wait(within(t), last))
	s.check(p.Sequence())
	t.Logf("%d events, %d checks", last, checks)
	stop()
}

func (s *storm) check(sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, versions := range s.published {
		for _, v := range versions {
			if v <= sequence && s.index[id] < v {
				s.t.Fatalf("the index has seen %d, but shows %s at %d and not at %d", sequence, id, s.index[id], v)
			}
		}
	}
}

func (s *storm) embedder(ctx context.Context, c *bus.Consumer) {
	for {
		batch, err := c.Next(ctx, 4)
		if err != nil {
			return
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		for _, m := range batch {
			if rand.N(10) == 0 {
				err = m.Fail(context.Background(), errs.New(errs.Unavailable, "away"))
			} else {
				id, _ := event.IDFromSubject(m.Subject)
				if _, err = s.b.StoreEmbedding(context.Background(), embedding(id, m.Sequence)); err == nil {
					err = m.Ack(context.Background())
				}
			}
			if err != nil {
				s.t.Error(err)
			}
		}
	}
}

func (s *storm) indexer(ctx context.Context, c *bus.Consumer) {
	for {
		batch, err := c.Next(ctx, 8)
		if err != nil {
			return
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		for _, m := range batch {
			e := &event.Embedding{}
			if err := proto.Unmarshal(m.Data, e); err != nil {
				s.t.Error(err)
			}
			s.mu.Lock()
			s.index[e.GetId()] = max(s.index[e.GetId()], e.GetSequence())
			s.mu.Unlock()
			if err := m.Ack(context.Background()); err != nil {
				s.t.Error(err)
			}
		}
	}
}
