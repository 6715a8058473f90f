package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/event"
)

const (
	reopenPause  = time.Second
	metricsEvery = 5 * time.Second
)

// pump moves messages from the server into the queue until Stop. The server
// sends at most MaxAckPending that are not settled, which bounds the queue.
func (c *Consumer) pump() {
	defer close(c.ended)
	if c.replay != nil && !c.pumpReplay() {
		return
	}
	for {
		c.mu.Lock()
		iter := c.iter
		c.mu.Unlock()
		raw, err := iter.Next()
		switch {
		case err == nil:
			c.arrived(raw)
		case c.stop.Err() != nil:
			return
		case errors.Is(err, jetstream.ErrNoHeartbeat):
			// The iterator asks again by itself.
			c.b.log.Debug("no sign of life from the server", "consumer", c.cfg.Durable)
		case c.b.Conn.IsClosed():
			c.fail(err)
			return
		default:
			c.b.log.Warn("consumer lost, opening it again", "consumer", c.cfg.Durable, "error", err)
			if !c.reopen() {
				return
			}
		}
	}
}

// reopen tries until the consumer is open again; false after Stop. One that
// was deleted starts at the beginning, which changes nothing but costs time.
func (c *Consumer) reopen() bool {
	for {
		// Not at once: the server announces a deletion before it is done with
		// it, and a consumer made in between inherits what the old one knew.
		select {
		case <-c.stop.Done():
			return false
		case <-time.After(reopenPause):
		}
		ctx, cancel := context.WithTimeout(c.stop, requestTimeout)
		err := c.open(ctx)
		cancel()
		if err == nil && c.stop.Err() != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.iter.Stop() // Stop may have seen only the one before
			return false
		}
		if err == nil {
			return true
		}
		c.b.log.Warn("cannot open the consumer yet", "consumer", c.cfg.Durable, "error", err)
	}
}

func (c *Consumer) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = kinded(err, "consumer %s", c.cfg.Durable)
	c.wake()
}

// arrived queues a message. One that is held here already, delivered again
// because a sign of life was lost, only replaces its handle.
func (c *Consumer) arrived(raw jetstream.Msg) {
	meta, err := raw.Metadata()
	if err != nil {
		c.b.log.Error("message without metadata", "consumer", c.cfg.Durable, "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if pin := raw.Headers().Get("Nats-Pin-Id"); pin != "" {
		c.pin = pin
	}
	if c.stop.Err() != nil {
		_ = raw.Nak() // as Stop does for what waits here
		return
	}
	if held := c.flight[meta.Sequence.Stream]; held != nil {
		held.raw, held.deliveries = raw, meta.NumDelivered
		return
	}
	_, local := raw.(replayed)
	m := &Message{
		Subject:    raw.Subject(),
		Data:       raw.Data(),
		Header:     raw.Headers(),
		Sequence:   meta.Sequence.Stream,
		Delivered:  meta.NumDelivered,
		Time:       meta.Timestamp,
		c:          c,
		local:      local,
		raw:        raw,
		deliveries: meta.NumDelivered,
		since:      time.Now(),
	}
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	if kind := event.ContentTypeOf(m.Header); kind != "" {
		m.Header.Set(event.HeaderContentType, kind) // however the producer spelled it
	}
	c.flight[m.Sequence] = m
	if last := c.cfg.lastDelivery(); last > 0 && m.Delivered >= last {
		go m.unanswered()
		return
	}
	c.queue = append(c.queue, m)
	c.wake()
}

// signals tells the server every third of AckWait that what is held here is
// being worked on, and keeps the gauges up to date. It outlives Stop for as
// long as something handed out is not settled.
func (c *Consumer) signals() {
	tick := time.NewTicker(c.cfg.AckWait / 3)
	defer tick.Stop()
	gauges := time.NewTicker(metricsEvery)
	defer gauges.Stop()
	for {
		select {
		case <-tick.C:
			c.signal()
		case <-gauges.C:
			c.measure()
		case <-c.stop.Done():
			go c.lastSignals()
			return
		}
	}
}

// lastSignals covers the batch that a stopping worker still finishes.
func (c *Consumer) lastSignals() {
	tick := time.NewTicker(c.cfg.AckWait / 3)
	defer tick.Stop()
	for c.signal() > 0 {
		select {
		case <-tick.C:
		case <-c.b.closed.Done():
			return
		}
	}
}

// signal returns how many messages are still held.
func (c *Consumer) signal() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for seq, m := range c.flight {
		held := time.Since(m.since)
		if held < c.cfg.MaxHold || m.local {
			_ = m.raw.InProgress() // a lost one costs a redelivery, no more
			continue
		}
		c.b.log.Warn("message given up: held too long without an answer", "consumer", c.cfg.Durable, "sequence", seq, "held", held)
		delete(c.flight, seq)
		c.unqueue(m)
	}
	return len(c.flight)
}

func (c *Consumer) unqueue(gone *Message) {
	for i, m := range c.queue {
		if m == gone {
			c.queue = append(c.queue[:i:i], c.queue[i+1:]...)
			return
		}
	}
}

// measure reads the gauges off the server.
func (c *Consumer) measure() {
	ctx, cancel := context.WithTimeout(c.stop, requestTimeout)
	defer cancel()
	info, err := c.Info(ctx)
	if err != nil {
		return // the connection's own log lines say why
	}
	c.mu.Lock()
	oldest := time.Duration(0)
	for _, m := range c.flight {
		oldest = max(oldest, time.Since(m.Time))
	}
	c.mu.Unlock()
	c.b.metrics.consumer(c.cfg.Stream, c.cfg.Durable, info, oldest)
}
