package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/testkit"
)

func fresh(durable string) bus.ConsumerConfig {
	cfg := quick(durable)
	cfg.Fresh = true
	return cfg
}

// floor waits until every message up to seq is settled, as the server sees it.
func floor(t *testing.T, b *bus.Bus, durable string, seq uint64) {
	t.Helper()
	eventually(t, func() error {
		info, err := b.ConsumerInfo(within(t), event.StreamVideos, durable)
		if err != nil || info.AckFloor != seq || info.AckPending > 0 || info.Pending > 0 {
			return fmt.Errorf("%+v, expected the floor %d: %w", info, seq, err)
		}
		return nil
	})
}

func TestReplayHandsOverToTheDurable(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	const stored = 50
	for i := range stored {
		publish(t, b, fmt.Sprint("v", i), "a title")
	}
	cfg := fresh("c")
	cfg.MaxAckPending = 4 // the replay must wait for its worker, too
	c := consume(t, b, cfg)
	if info, err := c.Info(within(t)); err != nil || info.Pending+uint64(info.AckPending) != stored || info.AckFloor != 0 {
		t.Errorf("at the start %+v %v, expected %d to come and nothing settled", info, err, stored)
	}
	for i := range stored {
		m := one(t, c)
		if m.Sequence != uint64(i+1) {
			t.Fatalf("message %d, expected %d", m.Sequence, i+1)
		}
		if i == stored-1 {
			// All have come, one is not settled: no floor may say that it is.
			publish(t, b, "late", "stored during the replay")
			time.Sleep(50 * time.Millisecond)
			if info, err := b.ConsumerInfo(within(t), event.StreamVideos, "c"); errs.KindOf(err) != errs.NotFound {
				t.Errorf("a durable consumer %+v %v before the end of the replay", info, err)
			}
		}
		must(t, m.Ack(within(t)))
	}
	m := one(t, c)
	if m.Sequence != stored+1 || m.Delivered != 1 {
		t.Fatalf("delivery %d of %d, expected 1 of %d", m.Delivered, m.Sequence, stored+1)
	}
	must(t, m.Ack(within(t)))
	floor(t, b, "c", stored+1)
	// A consumer deleted under its worker starts at the beginning.
	must(t, b.JS.DeleteConsumer(within(t), event.StreamVideos, "c"))
	if m = one(t, c); m.Sequence != 1 {
		t.Errorf("message %d, expected 1", m.Sequence)
	}
}

func TestReplayFailures(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	for _, line := range []struct {
		kind  errs.Kind
		tries int // when it becomes a dead letter; 0: never
	}{{errs.Corrupt, 1}, {errs.Internal, 2}, {errs.Unavailable, 0}} {
		id := line.kind.String()
		seq := publish(t, b, id, "a title")
		cfg := fresh("f-" + id)
		cfg.Filter = event.VideoSubject(id)
		c := consume(t, b, cfg)
		for range max(line.tries, 4*(1-min(line.tries, 1))) {
			m := one(t, c)
			if m.Sequence != seq {
				t.Fatalf("%s: message %d, expected %d again", id, m.Sequence, seq)
			}
			must(t, m.Fail(within(t), errs.New(line.kind, "the reason")))
		}
		_, err := b.LastDead(within(t), id)
		if line.tries > 0 {
			must(t, err)
		} else {
			if errs.KindOf(err) != errs.NotFound {
				t.Errorf("%s: %v, expected no dead letter", id, err)
			}
			must(t, one(t, c).Ack(within(t)))
		}
		floor(t, b, "f-"+id, seq)
	}
}

func TestReplayOfWhatIsPurgedMeanwhile(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	for i := range 10 {
		publish(t, b, fmt.Sprint("v", i), "a title")
	}
	cfg := fresh("c")
	cfg.MaxAckPending = 2
	c := consume(t, b, cfg)
	s, err := b.JS.Stream(within(t), event.StreamVideos)
	must(t, err)
	must(t, s.Purge(within(t), jetstream.WithPurgeSequence(11)))
	eventually(t, func() error { // some had come before the purge
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if batch, err := c.Next(ctx, 1); err == nil {
			must(t, batch[0].Ack(ctx))
			return fmt.Errorf("message %d came", batch[0].Sequence)
		}
		_, err := b.ConsumerInfo(within(t), event.StreamVideos, "c")
		return err // none before the end of the replay
	})
	if seq := publish(t, b, "next", "a title"); one(t, c).Sequence != seq {
		t.Errorf("expected message %d after the purge", seq)
	}
}

func TestReplaySurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: -1})
	must(t, err)
	b := testkit.Connect(t, s)
	const stored = 20
	for i := range stored {
		publish(t, b, fmt.Sprint("v", i), "a title")
	}
	cfg := fresh("c")
	cfg.MaxAckPending = 3
	c := consume(t, b, cfg)
	held := one(t, c)
	s.Shutdown()
	again, err := bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: s.Config().Port})
	must(t, err)
	t.Cleanup(again.Shutdown)
	must(t, held.Ack(within(t)))
	for want := uint64(2); want <= stored; want++ {
		m := one(t, c)
		if m.Sequence != want {
			t.Fatalf("message %d, expected %d: none twice, none left out", m.Sequence, want)
		}
		must(t, m.Ack(within(t)))
	}
	floor(t, b, "c", stored)
}
