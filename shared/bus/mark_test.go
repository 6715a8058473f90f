package bus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"videosim/shared/bus"
	"videosim/shared/event"
	"videosim/shared/testkit"
)

// run follows until stop is called, which waits for the end.
func run(t testing.TB, b *bus.Bus) (p *bus.Progress, stop func()) {
	t.Helper()
	p = bus.NewProgress(b, "fp")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return p, stop
}

// indexed publishes events and takes them all the way; it returns the last.
func indexed(t testing.TB, b *bus.Bus, embedder, indexer *bus.Consumer, ids ...string) (last uint64) {
	t.Helper()
	for _, id := range ids {
		last = publish(t, b, id, "new")
		embed(t, b, one(t, embedder))
		must(t, one(t, indexer).Ack(within(t)))
	}
	return last
}

// TestProgressGoesOnAfterARestart: what was indexed before a restart is known
// after it, whatever waits; what waits is not.
func TestProgressGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	embedder, indexer := consume(t, b, embedderConfig()), consume(t, b, indexerConfig())
	p, stop := run(t, b)
	seen := indexed(t, b, embedder, indexer, "a", "b", "c")
	must(t, p.Wait(within(t), seen))
	publish(t, b, "d", "waits")
	stop()
	last := publish(t, b, "a", "an edit while nobody follows")

	p, stop = run(t, b)
	must(t, p.Wait(within(t), seen))
	stays(t, p, seen)
	embed(t, b, one(t, embedder))
	must(t, one(t, indexer).Ack(within(t)))
	stop() // in the middle of what waits
	p, _ = run(t, b)
	must(t, p.Wait(within(t), seen))
	embed(t, b, one(t, embedder))
	must(t, one(t, indexer).Ack(within(t)))
	must(t, p.Wait(within(t), last))
}

// TestProgressForgetsWhatMayBeLost: where something began anew since, progress
// begins at nothing, as without a mark.
func TestProgressForgetsWhatMayBeLost(t *testing.T) {
	t.Parallel()
	again := func(stream, durable string) func(*testing.T, *bus.Bus) {
		return func(t *testing.T, b *bus.Bus) {
			must(t, b.ForgetConsumer(within(t), stream, durable))
			cfg := embedderConfig()
			if stream == event.StreamEmbeddings {
				cfg = indexerConfig()
			}
			consume(t, b, cfg)
		}
	}
	lose := func(stream string, sequence uint64) func(*testing.T, *bus.Bus) {
		return func(t *testing.T, b *bus.Bus) {
			s, err := b.JS.Stream(within(t), stream)
			must(t, err)
			must(t, s.DeleteMsg(within(t), sequence))
		}
	}
	for name, begin := range map[string]func(*testing.T, *bus.Bus){
		"embeddings made again":    again(event.StreamVideos, "embedder-fp"),
		"an index filled again":    again(event.StreamEmbeddings, "indexer-fp"),
		"another end of VIDEOS":    lose(event.StreamVideos, 2),
		"an end of EMBEDDINGS":     lose(event.StreamEmbeddings, 2),
		"another history":          rewrite(func(m map[string]any) { m["videos"].(map[string]any)["time"] = time.Unix(1, 0) }),
		"a history that is longer": rewrite(func(m map[string]any) { m["videos"].(map[string]any)["last"] = 99 }),
		"nothing to read":          rewrite(func(m map[string]any) { m["sequence"] = "two" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := testkit.Bus(t)
			embedder, indexer := consume(t, b, embedderConfig()), consume(t, b, indexerConfig())
			p, stop := run(t, b)
			must(t, p.Wait(within(t), indexed(t, b, embedder, indexer, "a", "b")))
			stop()
			begin(t, b)
			publish(t, b, "c", "waits")
			p, _ = run(t, b)
			stays(t, p, 0)
		})
	}
}

// rewrite changes the mark.
func rewrite(change func(mark map[string]any)) func(*testing.T, *bus.Bus) {
	return func(t *testing.T, b *bus.Bus) {
		mark := map[string]any{}
		must(t, b.ReadNote(within(t), "progress-fp", &mark))
		change(mark)
		must(t, b.WriteNote(within(t), "progress-fp", mark))
	}
}

// TestNoMarksAfterALoss: a Progress that outlives a server which comes back
// without its last event vouches for nothing any more.
func TestNoMarksAfterALoss(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]float64{"whole": 3, "lost": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, err := bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: -1})
			must(t, err)
			b := testkit.Connect(t, s)
			embedder, indexer := consume(t, b, embedderConfig()), consume(t, b, indexerConfig())
			p, stop := run(t, b)
			must(t, p.Wait(within(t), indexed(t, b, embedder, indexer, "a", "b")))
			eventually(t, func() error { return marked(t, b, 2) })
			if name == "lost" {
				videos, err := b.JS.Stream(within(t), event.StreamVideos)
				must(t, err)
				must(t, videos.DeleteMsg(within(t), 2))
			}
			s.Shutdown()
			again, err := bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: s.Config().Port})
			must(t, err)
			t.Cleanup(again.Shutdown)
			must(t, p.Wait(within(t), indexed(t, b, embedder, indexer, "c")))
			stop()
			must(t, marked(t, b, want))
		})
	}
}

func marked(t *testing.T, b *bus.Bus, want float64) error {
	mark := map[string]any{}
	if err := b.ReadNote(within(t), "progress-fp", &mark); err != nil {
		return err
	}
	if mark["sequence"] != want {
		return fmt.Errorf("the mark says %v, expected %v", mark["sequence"], want)
	}
	return nil
}

// TestProgressOfAFreshIndex: an index in memory is empty after a restart. Once
// it holds what is embedded, what was embedded before the restart is known,
// while later events wait.
func TestProgressOfAFreshIndex(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	old := testkit.Connect(t, s)
	embedder := consume(t, testkit.Connect(t, s), embedderConfig())
	cfg := indexerConfig()
	cfg.Fresh = true
	indexer, err := old.Consume(within(t), cfg)
	must(t, err)
	p, stop := run(t, old)
	seen := indexed(t, old, embedder, indexer, "a", "b")
	must(t, p.Wait(within(t), seen))
	stop()
	indexer.Stop()
	old.Close()

	b := testkit.Connect(t, s)
	last := publish(t, b, "c", "waits")
	p, _ = run(t, b)
	stays(t, p, 0)
	indexer = consume(t, b, cfg)
	stays(t, p, 0)
	for range 2 {
		must(t, one(t, indexer).Ack(within(t)))
	}
	must(t, p.Wait(within(t), seen))
	stays(t, p, seen)
	embed(t, b, one(t, embedder))
	must(t, one(t, indexer).Ack(within(t)))
	must(t, p.Wait(within(t), last))
}

// TestProgressInAStormOfRestarts states invariant I6 over restarts, beside
// another gateway that leaves marks, too.
func TestProgressInAStormOfRestarts(t *testing.T) {
	t.Parallel()
	s := newStorm(t)
	stopStorm := s.start()
	beside, _ := run(t, testkit.Connect(t, s.srv))
	p, stop := run(t, s.b)
	restarts, known, last := 0, 0, uint64(0)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		for range rand.N(60) {
			last = s.publish(fmt.Sprint("v", rand.N(60)))
			s.check(p.Sequence())
			s.check(beside.Sequence())
			time.Sleep(rand.N(8 * time.Millisecond))
		}
		stop()
		p, stop = run(t, s.b)
		for range 10 {
			time.Sleep(2 * time.Millisecond)
			s.check(p.Sequence())
		}
		restarts++
		if p.Sequence() > 0 {
			known++
		}
	}
	must(t, p.Wait(within(t), last))
	s.check(p.Sequence())
	t.Logf("%d events, %d restarts, %d of them knew something within 20 ms", last, restarts, known)
	stopStorm()
}

// TestProgressAfterARestore: a Progress that lives while the server comes back
// from an older backup, in which sequences are used again, does not take the new
// events for those that are lost. What the backup holds is known.
func TestProgressAfterARestore(t *testing.T) {
	t.Parallel()
	dir, backup := t.TempDir(), t.TempDir()
	s, err := bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: -1})
	must(t, err)
	restart := func(dir string) {
		t.Helper()
		s.Shutdown()
		s, err = bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: s.Config().Port})
		must(t, err)
	}
	defer func() { s.Shutdown() }()
	b := testkit.Connect(t, s)
	embedder, indexer := consume(t, b, embedderConfig()), consume(t, b, indexerConfig())
	p, _ := run(t, b)
	must(t, p.Wait(within(t), indexed(t, b, embedder, indexer, "a")))
	eventually(t, func() error { return marked(t, b, 1) })
	restart(dir)
	must(t, os.CopyFS(backup, os.DirFS(dir)))
	lost := indexed(t, b, embedder, indexer, "b")
	must(t, p.Wait(within(t), lost))
	restart(backup)
	last := publish(t, b, "c", "waits")
	if last != lost {
		t.Fatalf("sequence %d, expected %d, as in the history that is lost", last, lost)
	}
	eventually(t, func() error { return known(p, 1) })
	stays(t, p, 1)
	embed(t, b, one(t, embedder))
	must(t, one(t, indexer).Ack(within(t)))
	must(t, p.Wait(within(t), last))
}

// TestProgressOfAnIndexFilledAgain: an index whose consumer begins anew may be
// empty, so a Progress that lives meanwhile counts nothing until it is full.
func TestProgressOfAnIndexFilledAgain(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	embedder, indexer := consume(t, b, embedderConfig()), consume(t, b, indexerConfig())
	p, _ := run(t, b)
	last := indexed(t, b, embedder, indexer, "a", "b")
	must(t, p.Wait(within(t), last))
	indexer.Stop()
	must(t, b.ForgetConsumer(within(t), event.StreamEmbeddings, "indexer-fp"))
	eventually(t, func() error { return known(p, 0) }) // already while there is no consumer
	indexer = consume(t, b, indexerConfig())
	must(t, one(t, indexer).Ack(within(t)))
	stays(t, p, 0)
	must(t, one(t, indexer).Ack(within(t)))
	must(t, p.Wait(within(t), last))
}

// TestProgressOfAnotherStream: a stream that was deleted and made again is
// another one, however soon it is as long.
func TestProgressOfAnotherStream(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	embedder, indexer := consume(t, b, embedderConfig()), consume(t, b, indexerConfig())
	p, _ := run(t, b)
	must(t, p.Wait(within(t), indexed(t, b, embedder, indexer, "a", "b")))
	embedder.Stop()
	must(t, b.JS.DeleteStream(within(t), event.StreamVideos))
	must(t, b.EnsureStreams(within(t)))
	embedder = consume(t, b, embedderConfig())
	for _, id := range []string{"c", "d", "e"} {
		publish(t, b, id, "of the new stream")
	}
	eventually(t, func() error { return known(p, 0) })
	embed(t, b, one(t, embedder))
	must(t, one(t, indexer).Ack(within(t)))
	stays(t, p, 0) // the rest may stand for anything before
	for range 2 {
		embed(t, b, one(t, embedder))
		must(t, one(t, indexer).Ack(within(t)))
	}
	must(t, p.Wait(within(t), 3))
}

func known(p *bus.Progress, want uint64) error {
	if got := p.Sequence(); got != want {
		return fmt.Errorf("indexed sequence %d, expected %d", got, want)
	}
	return nil
}
