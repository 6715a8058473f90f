package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/testkit"
)

func TestNextTakesWhatIsThere(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	for i := range 5 {
		publish(t, b, fmt.Sprint("v", i), "a title")
	}
	c := consume(t, b, quick("c"))
	eventually(t, func() error {
		if info, err := c.Info(within(t)); err != nil || info.AckPending < 5 {
			return fmt.Errorf("%+v %w", info, err)
		}
		return nil
	})
	var got []uint64
	for len(got) < 5 {
		batch, err := c.Next(within(t), 3)
		must(t, err)
		if len(batch) > 3 {
			t.Fatalf("%d messages, expected at most 3", len(batch))
		}
		for _, m := range batch {
			got = append(got, m.Sequence)
			must(t, m.Ack(within(t)))
		}
	}
	if want := []uint64{1, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	eventually(t, func() error {
		if info, err := c.Info(within(t)); err != nil || info.AckFloor != 5 || info.AckPending != 0 {
			return fmt.Errorf("%+v %w", info, err)
		}
		return nil
	})
	none(t, c, 50*time.Millisecond)
}

func TestUnansweredIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	publish(t, b, "v", "a title")
	cfg := quick("c")
	cfg.AckWait = shortWait
	cfg.MaxHold = 50 * time.Millisecond // a worker that hangs
	c := consume(t, b, cfg)
	if m := one(t, c); m.Delivered != 1 {
		t.Fatalf("delivered %d times, expected 1", m.Delivered)
	}
	m := one(t, c)
	if m.Delivered != 2 || m.Sequence != 1 {
		t.Fatalf("delivery %d of %d, expected 2 of 1", m.Delivered, m.Sequence)
	}
	must(t, m.Ack(within(t)))
	if err := m.Ack(within(t)); errs.KindOf(err) != errs.Internal {
		t.Errorf("settling twice: %v, expected an internal error", err)
	}
}

func TestLongWorkIsNotDeliveredAgain(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	publish(t, b, "v", "a title")
	publish(t, b, "w", "waits behind it")
	cfg := quick("c")
	cfg.AckWait = time.Second // a busy machine may be late by a good part of a shorter one
	c := consume(t, b, cfg)
	m := one(t, c)
	time.Sleep(3 * cfg.AckWait) // long work; w waits in the queue meanwhile
	must(t, m.Ack(within(t)))
	m = one(t, c)
	if m.Delivered != 1 || m.Sequence != 2 {
		t.Errorf("delivery %d of %d, expected 1 of 2", m.Delivered, m.Sequence)
	}
	must(t, m.Ack(within(t)))
	none(t, c, 2*cfg.AckWait)
}

func TestStopGivesBack(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	for i := range 4 {
		publish(t, b, fmt.Sprint("v", i), "a title")
	}
	cfg := quick("c") // its AckWait is long: only giving back explains what comes
	first, err := b.Consume(within(t), cfg)
	must(t, err)
	m := one(t, first)
	eventually(t, func() error {
		info, err := first.Info(within(t))
		if err != nil || info.AckPending != 4 {
			return fmt.Errorf("%+v %w", info, err)
		}
		return nil
	})
	first.Stop()
	must(t, m.Ack(within(t))) // handed out before: still counts
	second := consume(t, b, cfg)
	var got []uint64
	for range 3 {
		m := one(t, second)
		got = append(got, m.Sequence)
		must(t, m.Ack(within(t)))
	}
	slices.Sort(got)
	if want := []uint64{2, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := first.Next(within(t), 1); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("Next after Stop: %v, expected unavailable", err)
	}
}

func TestReconnectAfterServerRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: -1})
	must(t, err)
	b := testkit.Connect(t, s)
	c := consume(t, b, quick("c"))
	publish(t, b, "v", "before")
	held := one(t, c)
	s.Shutdown()
	again, err := bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: s.Config().Port})
	must(t, err)
	t.Cleanup(again.Shutdown)
	if seq := publish(t, b, "w", "after"); seq != 2 {
		t.Fatalf("sequence %d after the restart, expected 2", seq)
	}
	m := one(t, c)
	if m.Sequence != 2 {
		t.Fatalf("message %d, expected 2: what is held must not be handed out twice", m.Sequence)
	}
	must(t, m.Ack(within(t)))
	must(t, held.Ack(within(t)))
	eventually(t, func() error {
		if info, err := c.Info(within(t)); err != nil || info.AckFloor != 2 {
			return fmt.Errorf("%+v %w", info, err)
		}
		return nil
	})
}

func TestFreshStartsAtTheBeginning(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	publish(t, b, "v", "a title")
	read := func(fresh bool) *bus.Consumer {
		cfg := quick("c")
		cfg.Fresh = fresh
		c, err := b.Consume(within(t), cfg)
		must(t, err)
		return c
	}
	ack := func(c *bus.Consumer) {
		m := one(t, c)
		if m.Sequence != 1 || m.Delivered != 1 {
			t.Fatalf("delivery %d of %d, expected 1 of 1", m.Delivered, m.Sequence)
		}
		must(t, m.Ack(within(t)))
		eventually(t, func() error {
			if info, err := c.Info(within(t)); err != nil || info.AckFloor != 1 {
				return fmt.Errorf("%+v %w", info, err)
			}
			return nil
		})
		c.Stop()
	}
	ack(read(true))
	ack(read(true))
	// What went into a process's memory is not durable for anyone else.
	ack(read(false))
	c := read(false)
	none(t, c, 100*time.Millisecond)
	c.Stop()
}

func TestConsumerIsReadBack(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	ctx := within(t)
	_, err := b.JS.CreateConsumer(ctx, event.StreamVideos, jetstream.ConsumerConfig{
		Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	must(t, err)
	if _, err = b.Consume(ctx, quick("c")); err == nil {
		t.Fatal("a consumer that skips what is there was accepted")
	}
	if !strings.Contains(err.Error(), "deliver policy") {
		t.Errorf("error %q, expected it to name the deliver policy", err)
	}
}

func TestDeletedConsumerIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	c := consume(t, b, quick("c"))
	publish(t, b, "v", "a title")
	must(t, one(t, c).Ack(within(t)))
	must(t, b.JS.DeleteConsumer(within(t), event.StreamVideos, "c"))
	m := one(t, c) // from the beginning again
	if m.Sequence != 1 {
		t.Errorf("message %d, expected 1", m.Sequence)
	}
	must(t, m.Ack(within(t)))
}

func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	active, standby := testkit.Connect(t, s), testkit.Connect(t, s)
	cfg := quick("c")
	cfg.Pinned, cfg.PinnedTTL = true, 2*time.Second
	first := consume(t, active, cfg)
	publish(t, active, "a", "pins the first")
	must(t, one(t, first).Ack(within(t)))
	second := consume(t, standby, cfg)
	for i := range 10 {
		publish(t, active, fmt.Sprint("v", i), "goes to the active one")
		must(t, one(t, first).Ack(within(t)))
	}
	none(t, second, 50*time.Millisecond)

	die(t, active, standby)
	start := time.Now()
	publish(t, standby, "z", "goes to the standby")
	m := one(t, second)
	t.Logf("took over after %s", time.Since(start).Round(time.Millisecond))
	must(t, m.Ack(within(t)))
}

// TestStandbyGetsWhatTheDeadHeld: what went to a worker that died, handed out
// or lost on the way to it, comes to the standby after AckWait.
func TestStandbyGetsWhatTheDeadHeld(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	active, standby := testkit.Connect(t, s), testkit.Connect(t, s)
	cfg := quick("c")
	cfg.Pinned, cfg.PinnedTTL = true, 2*time.Second
	cfg.AckWait = time.Second
	first := consume(t, active, cfg)
	publish(t, active, "a", "pins the first, which holds it")
	held := one(t, first)
	second := consume(t, standby, cfg)
	none(t, second, 50*time.Millisecond)
	die(t, active, standby)
	m := one(t, second)
	if m.Sequence != held.Sequence || m.Delivered < 2 {
		t.Errorf("delivery %d of %d, expected a later one of %d", m.Delivered, m.Sequence, held.Sequence)
	}
	must(t, m.Ack(within(t)))
}

// die cuts b's connection without a word, and returns once the server knows,
// as other sees it: until then the server goes on sending to b, and what it
// sends comes again only after AckWait.
func die(t *testing.T, b, other *bus.Bus) {
	t.Helper()
	_, err := b.Conn.Subscribe("alive", func(m *nats.Msg) { _ = m.Respond(nil) })
	must(t, err)
	must(t, b.Conn.Flush())
	b.Conn.Close()
	eventually(t, func() error {
		_, err := other.Conn.Request("alive", nil, 50*time.Millisecond)
		if errors.Is(err, nats.ErrNoResponders) {
			return nil
		}
		return fmt.Errorf("the server still knows the connection: %w", err)
	})
}

func TestStoppedActiveHandsOver(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	active, standby := testkit.Connect(t, s), testkit.Connect(t, s)
	cfg := quick("c")
	cfg.Pinned, cfg.PinnedTTL = true, time.Minute
	first, err := active.Consume(within(t), cfg)
	must(t, err)
	publish(t, active, "a", "pins the first")
	must(t, one(t, first).Ack(within(t)))
	second := consume(t, standby, cfg)
	first.Stop()
	publish(t, active, "z", "goes to the standby")
	must(t, one(t, second).Ack(within(t))) // long before the minute is over
}

func TestIdleActiveStaysPinned(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	active, standby := testkit.Connect(t, s), testkit.Connect(t, s)
	cfg := quick("c")
	cfg.Pinned, cfg.PinnedTTL = true, 2*time.Second
	first := consume(t, active, cfg)
	publish(t, active, "a", "pins the first")
	must(t, one(t, first).Ack(within(t)))
	second := consume(t, standby, cfg)
	time.Sleep(5 * time.Second / 2)
	publish(t, active, "b", "goes to the active one still")
	must(t, one(t, first).Ack(within(t)))
	none(t, second, 50*time.Millisecond)
}

func TestConsumeWithoutStreams(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	b, err := bus.Connect(within(t), bus.Config{URL: s.ClientURL()})
	must(t, err)
	t.Cleanup(b.Close)
	if _, err = b.Consume(within(t), quick("c")); errs.KindOf(err) != errs.NotFound && !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("error %v, expected that the stream is not there", err)
	}
}
