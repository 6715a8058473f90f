package bus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/testkit"
)

func TestStreamsAreRepairedOrReported(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	must(t, b.EnsureStreams(within(t))) // twice changes nothing

	config := func() jetstream.StreamConfig {
		s, err := b.JS.Stream(within(t), event.StreamVideos)
		must(t, err)
		return s.CachedInfo().Config
	}
	cfg := config()
	cfg.AllowDirect, cfg.MaxAge, cfg.Duplicates, cfg.RePublish = false, time.Hour, time.Second, nil
	_, err := b.JS.UpdateStream(within(t), cfg)
	must(t, err)
	must(t, b.EnsureStreams(within(t)))
	if got := config(); !got.AllowDirect || got.MaxAge != 0 || got.Duplicates != 2*time.Minute || got.RePublish == nil {
		t.Errorf("not repaired: %+v", got)
	}

	cfg = config()
	cfg.MaxMsgsPerSubject = 5
	_, err = b.JS.UpdateStream(within(t), cfg)
	must(t, err)
	err = b.EnsureStreams(within(t))
	if err == nil {
		t.Fatal("a stream that keeps five events a video was accepted")
	}
	for _, part := range []string{"VIDEOS", "max_msgs_per_subject", "expected 1", "found 5"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q, expected it to say %q", err, part)
		}
	}
}

func TestForeignStreamIsReported(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	b, err := bus.Connect(within(t), bus.Config{URL: s.ClientURL()})
	must(t, err)
	t.Cleanup(b.Close)
	_, err = b.JS.CreateStream(within(t), jetstream.StreamConfig{
		Name: event.StreamVideos, Subjects: []string{"other.>"}, Storage: jetstream.MemoryStorage, MaxMsgsPerSubject: 1,
	})
	must(t, err)
	err = b.EnsureStreams(within(t))
	if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "storage: expected File, found Memory") {
		t.Errorf("error %v, expected it to name the storage", err)
	}
}

func TestLatestEventOfAVideo(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	if _, _, err := b.LastVideo(within(t), "v"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("before any event: %v, expected not-found", err)
	}
	const id = "a.b c" // no legal token
	publish(t, b, id, "first")
	seq := publish(t, b, id, "second")
	e, got, err := b.LastVideo(within(t), id)
	must(t, err)
	if got != seq || e.GetTitle() != "second" || e.GetId() != id {
		t.Errorf("sequence %d, event %v: expected %d, the second", got, e, seq)
	}
	if state, err := b.StreamState(within(t), event.StreamVideos); err != nil || state.Messages != 1 || state.Last != 2 {
		t.Errorf("stream %+v, %v: expected one message, the second", state, err)
	}
}
