package bus

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
)

const (
	// replayQuiet is how long a replay waits for its next message before it
	// asks the server whether there is one.
	replayQuiet = time.Second
	// replayInactive is when the server forgets a replay that nobody reads.
	replayInactive = time.Minute
)

// replay is the first pass of a Fresh consumer over what its stream holds. It
// reads without acknowledgements, which are a fifth of what a message costs
// and say nothing here: when this process ends, its index is gone, and the
// next one starts at the beginning anyway. The durable consumer is made when
// everything read is settled, and starts after that: so its floor is what the
// index holds, and before there is none that could say too much.
type replay struct {
	until   uint64 // over when this message has come, or a later one
	last    uint64 // of those that have come
	count   uint64 // messages that the server's consumer has sent; a gap is a loss
	pending uint64 // still to come
	over    bool   // all have come; not all may be settled
}

// replayed is a message of a replay: settled in this process, not on the server.
type replayed struct {
	jetstream.Msg
	meta *jetstream.MsgMetadata
}

func (r replayed) Metadata() (*jetstream.MsgMetadata, error) { return r.meta, nil }

func (replayed) Ack() error                      { return nil }
func (replayed) DoubleAck(context.Context) error { return nil }
func (replayed) Nak() error                      { return nil }
func (replayed) NakWithDelay(time.Duration) error {
	return errs.New(errs.Internal, "a message of a replay is held, not given back")
}
func (replayed) InProgress() error { return nil }
func (replayed) Term() error       { return nil }

// newReplay returns nil where there is nothing to replay.
func (b *Bus) newReplay(ctx context.Context, cfg ConsumerConfig) (*replay, error) {
	s, err := b.stream(ctx, cfg.Stream)
	if err != nil {
		return nil, err
	}
	msg, err := s.GetLastMsgForSubject(ctx, cmp.Or(cfg.Filter, ">"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, kinded(err, "last message of %s", cfg.Durable)
	}
	return &replay{until: msg.Sequence}, nil
}

// openReplay reads on after the last message that has come.
func (c *Consumer) openReplay(ctx context.Context) error {
	s, err := c.b.stream(ctx, c.cfg.Stream)
	if err != nil {
		return err
	}
	cons, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject:     c.cfg.Filter,
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       c.replay.last + 1,
		MemoryStorage:     true,
		InactiveThreshold: replayInactive,
	})
	if err != nil {
		return kinded(err, "replay %s", c.cfg.Stream)
	}
	iter, err := cons.Messages(
		jetstream.PullMaxMessagesWithBytesLimit(c.cfg.MaxAckPending, maxPullBytes),
		jetstream.PullExpiry(c.cfg.pullExpiry()))
	if err != nil {
		return kinded(err, "replay %s", c.cfg.Stream)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cons, c.iter = cons, iter
	c.replay.count, c.replay.pending = 0, cons.CachedInfo().NumPending
	return nil
}

// pumpReplay moves the messages of the replay into the queue, then opens the
// durable consumer; false after Stop, or where no more can come.
func (c *Consumer) pumpReplay() bool {
	for !c.replay.over {
		raw, err := c.iter.Next(jetstream.NextMaxWait(replayQuiet))
		again := false
		switch {
		case c.stop.Err() != nil:
			return false
		case err == nil:
			again = !c.replayArrived(raw)
		case errors.Is(err, nats.ErrTimeout):
			again = !c.replayWaits()
		case errors.Is(err, jetstream.ErrNoHeartbeat):
			c.b.log.Debug("no sign of life from the server", "consumer", c.cfg.Durable)
		case c.b.Conn.IsClosed():
			c.fail(err)
			return false
		default:
			c.b.log.Warn("replay lost, opening it again", "consumer", c.cfg.Durable, "error", err)
			again = true
		}
		if again {
			c.iter.Stop()
			if !c.reopen() {
				return false
			}
		}
	}
	return c.endReplay()
}

// replayArrived queues a message when there is room; false where some before it
// were lost on their way.
func (c *Consumer) replayArrived(raw jetstream.Msg) bool {
	meta, err := raw.Metadata()
	if err != nil || meta.Sequence.Consumer != c.replay.count+1 {
		return false
	}
	if !c.awaitFlight(c.cfg.MaxAckPending - 1) {
		return true // stopping
	}
	c.arrived(replayed{raw, meta})
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.replay
	r.last, r.count, r.pending = meta.Sequence.Stream, meta.Sequence.Consumer, meta.NumPending
	r.over = r.last >= r.until
	return true
}

// replayWaits asks the server why nothing comes; false where something was
// lost. Where the last messages were purged meanwhile, the replay is over.
func (c *Consumer) replayWaits() bool {
	ctx, cancel := context.WithTimeout(c.stop, requestTimeout)
	defer cancel()
	info, err := c.cons.Info(ctx)
	if err != nil {
		return errs.KindOf(kinded(err, "replay")) != errs.NotFound
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replay.pending = info.NumPending
	c.replay.over = info.NumPending == 0 && info.Delivered.Consumer == c.replay.count
	return c.replay.over || info.NumPending > 0
}

// awaitFlight waits until at most n messages are held here; false after Stop.
func (c *Consumer) awaitFlight(n int) bool {
	for {
		c.mu.Lock()
		held := len(c.flight)
		c.mu.Unlock()
		if held <= n {
			return true
		}
		select {
		case <-c.room:
		case <-c.stop.Done():
			return false
		}
	}
}

// endReplay hands over to the durable consumer; false after Stop.
func (c *Consumer) endReplay() bool {
	if !c.awaitFlight(0) {
		return false
	}
	c.iter.Stop()
	ctx, cancel := context.WithTimeout(c.stop, requestTimeout)
	defer cancel()
	if s, err := c.b.stream(ctx, c.cfg.Stream); err == nil {
		_ = s.DeleteConsumer(ctx, c.cons.CachedInfo().Name) // replayInactive does the same later
	}
	err := c.open(ctx)
	if err == nil && c.stop.Err() != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.iter.Stop() // Stop may have seen only the one before
		return false
	}
	if err != nil {
		c.b.log.Warn("cannot open the consumer yet", "consumer", c.cfg.Durable, "error", err)
		return c.reopen()
	}
	return true
}

// starts says where the durable consumer of a Fresh worker starts: after its
// replay; where it was made before, as it was made; and where one that was
// made is gone, at the beginning, because the stream may be another one, too.
func (c *Consumer) starts(ctx context.Context, want *jetstream.ConsumerConfig) error {
	if c.replay != nil {
		if err := c.b.clear(ctx, c.cfg); err != nil { // another process's
			return err
		}
		want.DeliverPolicy, want.OptStartSeq = jetstream.DeliverByStartSequencePolicy, c.replay.last+1
		return nil
	}
	old, err := c.b.JS.Consumer(ctx, c.cfg.Stream, c.cfg.Durable)
	switch {
	case err == nil:
		found := old.CachedInfo().Config
		want.DeliverPolicy, want.OptStartSeq = found.DeliverPolicy, found.OptStartSeq
		return nil
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil
	}
	return kinded(err, "consumer %s on %s", c.cfg.Durable, c.cfg.Stream)
}

// replayInfo is Info during a replay, when the durable consumer is not there
// yet; false afterwards.
func (c *Consumer) replayInfo() (Info, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.replay == nil {
		return Info{}, false
	}
	return Info{Pending: c.replay.pending, AckPending: len(c.flight), Delivered: c.replay.last, memoryOf: c.b.id}, true
}
