package bus_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/testkit"
)

// TestFailByKind: after each kind of failure, how often the message came and
// whether it is a dead letter.
func TestFailByKind(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	for _, line := range []struct {
		kind       errs.Kind
		deliveries uint64 // when it becomes a dead letter; 0: never
	}{
		{errs.Invalid, 1},
		{errs.NotFound, 1},
		{errs.Corrupt, 1},
		{errs.Internal, 2},
		{errs.Overloaded, 0},
		{errs.Unavailable, 0},
	} {
		t.Run(line.kind.String(), func(t *testing.T) {
			id := line.kind.String()
			seq := publish(t, b, id, "a title")
			cfg := quick("c-" + id)
			cfg.Filter, cfg.AckWait = event.VideoSubject(id), shortWait
			c := consume(t, b, cfg)
			cause := errs.New(line.kind, "the %s\nreason", id)
			tries := uint64(0)
			for tries < max(line.deliveries, 6) { // 6: beyond what the server would deliver
				m := one(t, c)
				tries++
				must(t, m.Fail(within(t), cause))
				if tries == line.deliveries {
					break
				}
			}
			if line.deliveries == 0 {
				m := one(t, c) // tried for as long as it takes
				if m.Delivered > uint64(cfg.MaxDeliver) {
					t.Errorf("delivered %d times: the server would give up", m.Delivered)
				}
				must(t, m.Ack(within(t)))
				if _, err := b.LastDead(within(t), id); errs.KindOf(err) != errs.NotFound {
					t.Errorf("LastDead: %v, expected not-found", err)
				}
				return
			}
			none(t, c, 2*shortWait)
			checkDead(t, b, id, bus.Dead{
				Subject: "videos." + id, Stream: event.StreamVideos, Original: seq, Consumer: cfg.Durable,
				Kind: line.kind, Reason: "the " + id + " reason", Deliveries: line.deliveries,
			})
			info, err := c.Info(within(t))
			must(t, err)
			if info.AckFloor < seq || info.AckPending != 0 {
				t.Errorf("consumer %+v, expected it to be past %d", info, seq)
			}
		})
	}
}

func checkDead(t *testing.T, b *bus.Bus, id string, want bus.Dead) {
	t.Helper()
	got, err := b.LastDead(within(t), id)
	must(t, err)
	if got.Time.IsZero() || got.Sequence == 0 || got.Bytes == 0 {
		t.Errorf("dead letter %+v, expected a time, a sequence and a size", got)
	}
	want.Time, want.Sequence, want.Bytes = got.Time, got.Sequence, got.Bytes
	if *got != want {
		t.Errorf("dead letter\n got %+v\nwant %+v", *got, want)
	}
}

func TestDeadLetterKeepsTheMessage(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	raw(t, b, "videos.v", nats.Header{"Content-Type": {"application/json"}, "X-Own": {"kept"}, "Nats-Msg-Id": {"left behind"}}, []byte(`{"id":1}`))
	c := consume(t, b, quick("c"))
	must(t, one(t, c).Fail(within(t), errs.Field("id", "expected text")))
	dead, err := b.LastDead(within(t), "v")
	must(t, err)
	if dead.Field != "id" || dead.Reason != "id: expected text" {
		t.Errorf("field %q, reason %q", dead.Field, dead.Reason)
	}
	_, header, data, err := b.ShowDead(within(t), dead.Sequence)
	must(t, err)
	if string(data) != `{"id":1}` || header.Get("X-Own") != "kept" || header.Get("Content-Type") != "application/json" || len(header) != 2 {
		t.Errorf("payload %q, headers %v", data, header)
	}
}

func TestDeadLetterOfTheLargestMessage(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	large := make([]byte, b.Conn.MaxPayload()-200)
	seq := raw(t, b, "videos.v", nil, large)
	c := consume(t, b, quick("c"))
	must(t, one(t, c).Fail(within(t), errs.New(errs.Invalid, "not an event")))
	dead, err := b.LastDead(within(t), "v")
	must(t, err)
	if !dead.Truncated || dead.Bytes != len(large) {
		t.Fatalf("dead letter %+v, expected it cut, of %d bytes", dead, len(large))
	}
	again, err := b.RequeueDead(within(t), dead.Sequence)
	must(t, err)
	msg := one(t, c)
	if msg.Sequence != again || again <= seq || len(msg.Data) != len(large) {
		t.Errorf("requeued as %d with %d bytes, expected %d with %d", msg.Sequence, len(msg.Data), again, len(large))
	}
	must(t, msg.Ack(within(t)))
}

// TestDyingWorker: nobody answers, ever; the message still ends in DEAD.
func TestDyingWorker(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	seq := publish(t, b, "poison", "kills its worker")
	publish(t, b, "fine", "comes after it")
	cfg := quick("c")
	cfg.AckWait, cfg.MaxHold = 100*time.Millisecond, time.Millisecond
	cfg.MaxDeliver = 1 // the server allows 4
	c := consume(t, b, cfg)
	ctx, cancel := context.WithCancel(within(t))
	t.Cleanup(cancel)
	go func() {
		for {
			batch, err := c.Next(ctx, 1)
			if err != nil {
				return
			}
			if batch[0].Sequence != seq { // the other one is let go
				_ = batch[0].Ack(ctx)
			}
		}
	}()
	eventually(t, func() error {
		dead, err := b.LastDead(within(t), "poison")
		if err != nil {
			return err
		}
		if dead.Original != seq || dead.Kind != errs.Internal || dead.Deliveries != 4 || !strings.Contains(dead.Reason, "never answered") {
			t.Fatalf("dead letter %+v", dead)
		}
		return nil
	})
	eventually(t, func() error {
		if info, err := c.Info(within(t)); err != nil || info.AckFloor < seq {
			return fmt.Errorf("%+v %w", info, err)
		}
		return nil
	})
	if _, _, err := b.LastVideo(within(t), "poison"); err != nil {
		t.Errorf("the event itself: %v, expected it to stay for other models", err)
	}
}

// TestNotesWaitForACatcher: the server gave up while no process of ours ran.
func TestNotesWaitForACatcher(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	note := func(text string) {
		raw(t, b, "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.VIDEOS.c", nil, []byte(text))
	}
	notes := func(expected uint64) {
		t.Helper()
		eventually(t, func() error {
			state, err := b.StreamState(within(t), "EXHAUSTED")
			if err == nil && state.Messages != expected {
				err = fmt.Errorf("%d notes, expected %d", state.Messages, expected)
			}
			return err
		})
	}
	seq := publish(t, b, "v", "a title")
	other, err := b.JS.CreateConsumer(within(t), event.StreamVideos, jetstream.ConsumerConfig{
		Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 50 * time.Millisecond, MaxDeliver: 1,
	})
	must(t, err)
	_, err = other.Next() // and never an answer
	must(t, err)
	notes(1)
	note(`not JSON`)
	note(`{"stream":"VIDEOS","consumer":"c","stream_seq":99,"deliveries":4}`)
	notes(3)
	consume(t, b, quick("other")) // its catcher serves all consumers
	notes(0)
	checkDead(t, b, "v", bus.Dead{
		Subject: "videos.v", Stream: event.StreamVideos, Original: seq, Consumer: "c", Kind: errs.Internal, Deliveries: 1,
		Reason: "delivered 1 times and never answered: its worker died or hung each time",
	})
}

func TestRequeueAndDrop(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	c := consume(t, b, quick("c"))
	letters := func() []bus.Dead {
		list, err := b.DeadLetters(within(t), bus.DeadFilter{})
		must(t, err)
		return list
	}
	if got := letters(); len(got) != 0 {
		t.Fatalf("%d dead letters, expected none", len(got))
	}
	for _, id := range []string{"a", "b", "c"} {
		publish(t, b, id, "a title")
		must(t, one(t, c).Fail(within(t), errs.New(errs.Invalid, "bad")))
	}
	publish(t, b, "b", "edited since") // 4
	must(t, one(t, c).Ack(within(t)))
	list := letters()
	if len(list) != 3 || list[0].Subject != "videos.a" || list[2].Original != 3 || list[1].Bytes == 0 {
		t.Fatalf("dead letters %+v", list)
	}
	if few, err := b.DeadLetters(within(t), bus.DeadFilter{Subject: "videos.*", From: list[1].Sequence, Limit: 1}); err != nil || len(few) != 1 || few[0] != list[1] {
		t.Errorf("filtered: %+v, %v", few, err)
	}

	seq, err := b.RequeueDead(within(t), list[0].Sequence)
	must(t, err)
	m := one(t, c)
	if m.Sequence != seq || m.Subject != "videos.a" || m.Header.Get("Videosim-Dead-Kind") != "" {
		t.Errorf("requeued %d %s %v", m.Sequence, m.Subject, m.Header)
	}
	must(t, m.Ack(within(t)))

	_, err = b.RequeueDead(within(t), list[1].Sequence)
	if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "newer") {
		t.Errorf("requeue of an old event: %v, expected a refusal", err)
	}
	if e, _, err := b.LastVideo(within(t), "b"); err != nil || e.GetTitle() != "edited since" {
		t.Errorf("b is %v, %v", e, err)
	}
	must(t, b.DropDead(within(t), list[1].Sequence))
	if err := b.DropDead(within(t), list[1].Sequence); errs.KindOf(err) != errs.NotFound {
		t.Errorf("dropping twice: %v, expected not-found", err)
	}
	if got := letters(); len(got) != 1 || got[0].Subject != "videos.c" {
		t.Errorf("left: %+v, expected videos.c", got)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	testkit.Connect(t, s)
	reg := prometheus.NewRegistry()
	b, err := bus.Connect(within(t), bus.Config{URL: s.ClientURL()}, bus.WithMetrics(reg))
	must(t, err)
	t.Cleanup(b.Close)
	c := consume(t, b, quick("c"))
	publish(t, b, "v", "a title")
	must(t, one(t, c).Fail(within(t), errs.New(errs.Corrupt, "bad")))
	const want = `# HELP videosim_bus_dead_letters_total Messages that could not be processed, by the kind of error.
# TYPE videosim_bus_dead_letters_total counter
videosim_bus_dead_letters_total{consumer="c",kind="corrupt"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "videosim_bus_dead_letters_total"); err != nil {
		t.Error(err)
	}
	publish(t, b, "w", "held")
	m := one(t, c)
	eventually(t, func() error {
		n, err := testutil.GatherAndCount(reg, "videosim_bus_ack_pending_messages", "videosim_bus_oldest_in_flight_seconds")
		if err == nil && n < 2 {
			err = fmt.Errorf("%d gauges", n)
		}
		return err
	})
	must(t, m.Ack(within(t)))
}
