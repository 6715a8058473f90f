package bus

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// Message is one message of a stream, handed out by a Consumer. It must be
// settled exactly once, by Ack or Fail; until then the server is told that it
// is being worked on.
type Message struct {
	Subject   string
	Data      []byte
	Header    nats.Header
	Sequence  uint64    // in the stream
	Delivered uint64    // how often, this time included
	Time      time.Time // when it was stored

	c     *Consumer
	local bool // of a replay: the server would not deliver it again
	// Guarded by c.mu:
	raw        jetstream.Msg // of the latest delivery
	deliveries uint64        // as of raw
	tries      int           // handed out again without a delivery; see hold
	since      time.Time     // when it arrived or was handed out
	settled    bool
}

// Context is ctx with the trace that the message carries.
func (m *Message) Context(ctx context.Context) context.Context {
	return event.ExtractTrace(ctx, m.Header)
}

// Ack says that the message's effect is durable. Unavailable where that could
// not be said; the message will come again and must change nothing then.
func (m *Message) Ack(ctx context.Context) error {
	raw, err := m.settle()
	if err != nil {
		return err
	}
	if m.c.cfg.ConfirmAcks {
		return kinded(raw.DoubleAck(ctx), "acknowledge %s", m.Subject)
	}
	return kinded(raw.Ack(), "acknowledge %s", m.Subject)
}

// Fail does what the table of errs says for cause's Kind: a dead letter at
// once, a later delivery, or later deliveries up to the limit and then a dead
// letter. The error it returns is its own, about doing that; the message is
// never lost by it, only delivered again.
func (m *Message) Fail(ctx context.Context, cause error) error {
	m.c.mu.Lock()
	deliveries := m.deliveries
	m.c.mu.Unlock()
	atLimit := m.c.cfg.MaxDeliver > 0 && deliveries >= uint64(m.c.cfg.MaxDeliver)
	switch errs.PolicyOf(errs.KindOf(cause)).Ack {
	case errs.DeadLetter:
		return m.bury(ctx, cause)
	case errs.NakWithDelay:
		if atLimit {
			return m.hold()
		}
	case errs.NakUntilLimit:
		if atLimit {
			return m.bury(ctx, cause)
		}
	}
	return m.nak(deliveries)
}

// settle takes the message out of flight and returns its handle.
func (m *Message) settle() (jetstream.Msg, error) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	if m.settled {
		return nil, errs.New(errs.Internal, "message %d of %s settled twice", m.Sequence, m.c.cfg.Stream)
	}
	m.settled = true
	if m.c.flight[m.Sequence] == m {
		delete(m.c.flight, m.Sequence)
	}
	if m.local {
		select {
		case m.c.room <- struct{}{}:
		default:
		}
	}
	return m.raw, nil
}

func (m *Message) nak(deliveries uint64) error {
	if m.local {
		return m.hold()
	}
	raw, err := m.settle()
	if err != nil {
		return err
	}
	return kinded(raw.NakWithDelay(m.c.cfg.retryDelay(int(deliveries))), "give back %s", m.Subject)
}

// bury keeps the message in DEAD, and only then ends its deliveries.
func (m *Message) bury(ctx context.Context, cause error) error {
	if m.local {
		return m.buryLocal(ctx, cause)
	}
	raw, err := m.settle()
	if err != nil {
		return err
	}
	if err := m.c.b.bury(ctx, m.letter(cause)); err != nil {
		_ = raw.NakWithDelay(m.c.cfg.retryDelay(int(m.Delivered))) // AckWait does the same later
		return err
	}
	return kinded(raw.Term(), "end the deliveries of %s", m.Subject)
}

// buryLocal keeps a message of a replay in DEAD, and only then settles it.
func (m *Message) buryLocal(ctx context.Context, cause error) error {
	if err := m.c.b.bury(ctx, m.letter(cause)); err != nil {
		_ = m.hold() // fails only where it is settled already
		return err
	}
	_, err := m.settle()
	return err
}

func (m *Message) letter(cause error) letter {
	return letter{
		stream: m.c.cfg.Stream, consumer: m.c.cfg.Durable, sequence: m.Sequence, deliveries: m.Delivered,
		subject: m.Subject, header: m.Header, data: m.Data, cause: cause,
	}
}

// unanswered buries a message at its last delivery.
func (m *Message) unanswered() {
	ctx, cancel := context.WithTimeout(m.c.b.closed, buryTimeout)
	defer cancel()
	if err := m.bury(ctx, neverAnswered(m.Delivered)); err != nil {
		// The server leaves a note now, and the catcher tries again.
		m.c.b.log.Warn("dead letter delayed", "consumer", m.c.cfg.Durable, "error", err)
	}
}

// hold hands the message out again after a pause without giving it back to
// the server. What is only waiting for a dependency must be tried for as long
// as that is away, and the server counts every delivery towards its limit.
func (m *Message) hold() error {
	c := m.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.settled {
		return errs.New(errs.Internal, "message %d of %s settled twice", m.Sequence, c.cfg.Stream)
	}
	m.tries++
	m.since = time.Now()
	if m.local { // no server counts
		m.deliveries++
		m.Delivered = m.deliveries
	}
	time.AfterFunc(c.cfg.retryDelay(int(m.deliveries)+m.tries), func() { c.again(m) })
	return nil
}

// again queues a held message, unless it was given up or the consumer stopped;
// both mean that the server delivers it again.
func (c *Consumer) again(m *Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flight[m.Sequence] != m {
		return
	}
	if c.stop.Err() != nil {
		delete(c.flight, m.Sequence)
		return
	}
	m.since = time.Now()
	c.queue = append(c.queue, m)
	c.wake()
}

// retryDelay is the pause after the n-th delivery, a quarter of it random so
// that what failed together does not come back together.
func (c ConsumerConfig) retryDelay(n int) time.Duration {
	d := c.RetryDelay << min(max(n-1, 0), 16)
	d = min(d, max(maxRetryDelay, c.RetryDelay))
	return d - d/8 + rand.N(d/4+1)
}
