package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"videosim/shared/bus"
	"videosim/shared/event"
)

// patience bounds every wait of these tests; a busy machine may need much of it.
const patience = 20 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// shortWait is an AckWait for tests about its end. The others have a long one:
// on a busy machine a short one ends by itself.
const shortWait = 300 * time.Millisecond

// quick is a consumer whose retries are short enough for a test.
func quick(durable string) bus.ConsumerConfig {
	return bus.ConsumerConfig{
		Stream: event.StreamVideos, Durable: durable,
		AckWait: time.Minute, RetryDelay: 10 * time.Millisecond, MaxDeliver: 2,
	}
}

func consume(t testing.TB, b *bus.Bus, cfg bus.ConsumerConfig) *bus.Consumer {
	t.Helper()
	c, err := b.Consume(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// one returns the next message.
func one(t testing.TB, c *bus.Consumer) *bus.Message {
	t.Helper()
	batch, err := c.Next(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	return batch[0]
}

// none fails where a message comes within d.
func none(t testing.TB, c *bus.Consumer, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if batch, err := c.Next(ctx, 1); err == nil {
		t.Fatalf("message %d came, expected none", batch[0].Sequence)
	}
}

// publish stores an event for a video and returns its sequence.
func publish(t testing.TB, b *bus.Bus, id, title string) uint64 {
	t.Helper()
	p, err := event.NewPublisher(b.Conn, event.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	seq, err := p.Publish(within(t), &event.VideoEvent{Id: id, Title: title})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// raw stores any payload under a subject.
func raw(t testing.TB, b *bus.Bus, subject string, header nats.Header, data []byte) uint64 {
	t.Helper()
	ack, err := b.JS.PublishMsg(within(t), &nats.Msg{Subject: subject, Header: header, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

// eventually polls until check returns nil.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	err := fmt.Errorf("never checked")
	for time.Now().Before(deadline) {
		if err = check(); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within %s: %v", patience, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
