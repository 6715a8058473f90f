package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
)

// ConsumerConfig describes a durable consumer. Zero values mean the defaults.
type ConsumerConfig struct {
	Stream, Durable string
	Filter          string // subjects; "" means the whole stream

	// AckWait is how long the server waits for a sign of life before it
	// delivers a message again. Default 30 s. While a message is held here,
	// one is sent every third of it.
	AckWait time.Duration
	// MaxHold ends those signs for a message that is held and not settled:
	// its worker hangs, and another one may take it. Default 15 min.
	MaxHold time.Duration
	// MaxAckPending is the most messages in flight over all workers of this
	// consumer. Default 64: with 100 KB a message more gains nothing.
	MaxAckPending int
	// MaxDeliver is how often a message that fails with an Internal error is
	// tried. Default 5. The server itself allows spareDeliveries more.
	MaxDeliver int
	// RetryDelay is the pause before the second delivery; it doubles with
	// each one up to maxRetryDelay. Default 500 ms.
	RetryDelay time.Duration
	// ConfirmAcks waits for the server to say that it has an ack. Off: an ack
	// that is lost costs a delivery more, which changes nothing.
	ConfirmAcks bool

	// Pinned gives the messages to one worker at a time; the others are hot
	// standbys, one of which takes over when the active one has not asked for
	// messages for PinnedTTL (default 10 s; at least 2 s). Needs server 2.11.
	Pinned    bool
	PinnedTTL time.Duration

	// Fresh deletes the consumer first and starts at the beginning: for an
	// index in this process's memory, which is empty at start. What the stream
	// holds then is replayed first; see replay.
	Fresh bool
	// Refill starts at the beginning where something was settled already: for
	// an index that has been found empty, so that what it was given is lost.
	Refill bool
}

const (
	// spareDeliveries is what the server allows beyond the workers' own limit,
	// for workers that die before they can say anything. The last delivery of
	// all is never handed out but buried: it has killed the others.
	spareDeliveries = 3
	maxRetryDelay   = 30 * time.Second
	pinnedGroup     = "active"
	// markInMemory is set on a Fresh consumer, to the id of the bus that made
	// it: what it has acknowledged is gone when that process ends.
	markInMemory = "videosim-in-memory-of"
	stopTimeout  = 2 * time.Second
	maxPullBytes = 32 << 20 // asked for at once; more than 30 of the largest messages
)

func (c ConsumerConfig) withDefaults() ConsumerConfig {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&c.AckWait, 30*time.Second)
	set(&c.MaxHold, 15*time.Minute)
	set(&c.RetryDelay, 500*time.Millisecond)
	set(&c.PinnedTTL, 10*time.Second)
	c.PinnedTTL = max(c.PinnedTTL, 2*time.Second)
	if c.MaxAckPending <= 0 {
		c.MaxAckPending = 64
	}
	if c.MaxDeliver == 0 {
		c.MaxDeliver = 5
	}
	return c
}

func (c ConsumerConfig) jetstream() jetstream.ConsumerConfig {
	js := jetstream.ConsumerConfig{
		Durable:       c.Durable,
		FilterSubject: c.Filter,
		AckPolicy:     jetstream.AckExplicitPolicy,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait:       c.AckWait,
		MaxAckPending: c.MaxAckPending,
		MaxDeliver:    -1,
	}
	if last := c.lastDelivery(); last > 0 {
		js.MaxDeliver = int(last)
	}
	if c.Pinned {
		js.PriorityPolicy = jetstream.PriorityPolicyPinned
		js.PriorityGroups = []string{pinnedGroup}
		js.PinnedTTL = c.PinnedTTL
	}
	return js
}

// lastDelivery is how often the server delivers a message; 0: without end.
func (c ConsumerConfig) lastDelivery() uint64 {
	if c.MaxDeliver < 0 {
		return 0
	}
	return uint64(c.MaxDeliver + spareDeliveries)
}

// pullExpiry is how long one request for messages stands. A pinned worker
// must ask again well within its time to live.
func (c ConsumerConfig) pullExpiry() time.Duration {
	if c.Pinned {
		return min(10*time.Second, c.PinnedTTL/2)
	}
	return 10 * time.Second
}

// Consumer hands out the messages of a durable consumer. Messages come in
// continuously and wait here, at most MaxAckPending, so that a batch forms
// from what is there the moment the worker is free.
type Consumer struct {
	b   *Bus
	cfg ConsumerConfig

	mu      sync.Mutex
	cons    jetstream.Consumer
	iter    jetstream.MessagesContext
	queue   []*Message          // arrived, not handed out
	flight  map[uint64]*Message // arrived, not settled; by stream sequence
	pin     string              // the id under which the server last sent us messages
	failed  error               // why no more will come
	arrival chan struct{}       // holds a token when the queue may have grown
	replay  *replay             // the first pass of a Fresh consumer; nil: over, or none
	room    chan struct{}       // holds a token when flight may have shrunk, during a replay

	stop    context.Context
	stopNow context.CancelFunc
	ended   chan struct{} // closed when the pump is
}

// Consume makes or updates the durable consumer, checks that the server runs
// it as asked, and starts to pull. Invalid where the existing one differs in
// what cannot be changed.
func (b *Bus) Consume(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	if err := b.startCatcher(ctx); err != nil {
		return nil, err
	}
	return b.consume(ctx, cfg)
}

func (b *Bus) consume(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	cfg = cfg.withDefaults()
	c := &Consumer{b: b, cfg: cfg, flight: map[uint64]*Message{}, arrival: make(chan struct{}, 1), room: make(chan struct{}, 1), ended: make(chan struct{})}
	if err := b.clear(ctx, cfg); err != nil {
		return nil, err
	}
	if cfg.Fresh {
		var err error
		if c.replay, err = b.newReplay(ctx, cfg); err != nil {
			return nil, err
		}
	}
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	c.stop, c.stopNow = context.WithCancel(b.closed)
	go c.pump()
	go c.signals()
	return c, nil
}

// clear deletes the consumer where it must start at the beginning: as asked
// for, or because what it has acknowledged went into the memory of a process
// (its mark says so) and this worker writes elsewhere.
func (b *Bus) clear(ctx context.Context, cfg ConsumerConfig) error {
	old, err := b.JS.Consumer(ctx, cfg.Stream, cfg.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if err == nil && !cfg.outdated(old.CachedInfo()) {
		return nil
	}
	if err == nil {
		err = b.JS.DeleteConsumer(ctx, cfg.Stream, cfg.Durable)
	}
	return kinded(err, "start consumer %s at the beginning", cfg.Durable)
}

// outdated reports whether what a consumer has settled is not where c's worker writes.
func (c ConsumerConfig) outdated(old *jetstream.ConsumerInfo) bool {
	return c.Fresh || c.Refill && old.AckFloor.Consumer > 0 || old.Config.Metadata[markInMemory] != ""
}

// open binds to the consumer on the server, making it where needed.
func (c *Consumer) open(ctx context.Context) error {
	if c.replay != nil && !c.replay.over {
		return c.openReplay(ctx)
	}
	want := c.cfg.jetstream()
	if c.cfg.Fresh {
		want.Metadata = map[string]string{markInMemory: c.b.id}
		if err := c.starts(ctx, &want); err != nil {
			return err
		}
	}
	cons, err := c.b.JS.CreateOrUpdateConsumer(ctx, c.cfg.Stream, want)
	if err != nil {
		err = kinded(err, "make consumer %s on %s", c.cfg.Durable, c.cfg.Stream)
		if c.cfg.Pinned && errs.KindOf(err) == errs.Internal {
			err = fmt.Errorf("%w (a hot standby needs nats-server 2.11 or later; this is %s)", err, c.b.Conn.ConnectedServerVersion())
		}
		return err
	}
	// Asked for, because the answer to the first update after the server's start
	// shows the settings from before (nats-server 2.15).
	info, err := cons.Info(ctx)
	if err != nil {
		return kinded(err, "read back consumer %s", c.cfg.Durable)
	}
	if diff := consumerDifferences(want, info.Config); len(diff) > 0 {
		return differ("consumer "+c.cfg.Durable+" on "+c.cfg.Stream, diff, nil)
	}
	opts := []jetstream.PullMessagesOpt{
		jetstream.PullMaxMessagesWithBytesLimit(c.cfg.MaxAckPending, maxPullBytes),
		jetstream.PullExpiry(c.cfg.pullExpiry()),
	}
	if c.cfg.Pinned {
		opts = append(opts, jetstream.PullPriorityGroup(pinnedGroup))
	}
	iter, err := cons.Messages(opts...)
	if err != nil {
		return kinded(err, "pull from consumer %s", c.cfg.Durable)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cons, c.iter, c.replay = cons, iter, nil
	return nil
}

// consumerDifferences compares what must hold. A consumer read back with other
// values than asked for is how a worker sits idle, or loops.
func consumerDifferences(want, found jetstream.ConsumerConfig) []difference {
	var diff []difference
	for _, set := range []struct {
		name string
		show func(jetstream.ConsumerConfig) any
	}{
		{"ack_policy", func(c jetstream.ConsumerConfig) any { return c.AckPolicy }},
		{"ack_wait", func(c jetstream.ConsumerConfig) any { return c.AckWait }},
		{"deliver_policy", func(c jetstream.ConsumerConfig) any { return c.DeliverPolicy }},
		{"filter_subject", func(c jetstream.ConsumerConfig) any { return c.FilterSubject }},
		{"max_ack_pending", func(c jetstream.ConsumerConfig) any { return c.MaxAckPending }},
		{"max_deliver", func(c jetstream.ConsumerConfig) any { return c.MaxDeliver }},
		{"priority_groups", func(c jetstream.ConsumerConfig) any { return c.PriorityGroups }},
		{"priority_timeout", func(c jetstream.ConsumerConfig) any { return c.PinnedTTL }},
	} {
		if w, f := fmt.Sprint(set.show(want)), fmt.Sprint(set.show(found)); w != f {
			diff = append(diff, difference{set.name, w, f})
		}
	}
	return diff
}

// Next blocks until there is a message, and returns all that are waiting, at
// most limit: no timer, and so no batch that waits for its last message.
// Its errors are ctx's end, and Unavailable after Stop.
func (c *Consumer) Next(ctx context.Context, limit int) ([]*Message, error) {
	for {
		if batch, err := c.take(limit); len(batch) > 0 || err != nil {
			return batch, err
		}
		select {
		case <-c.arrival:
		case <-ctx.Done():
			return nil, errs.New(errs.Unavailable, "wait for messages: %w", ctx.Err())
		case <-c.stop.Done():
			return nil, errs.New(errs.Unavailable, "consumer %s is stopped", c.cfg.Durable)
		}
	}
}

func (c *Consumer) take(limit int) ([]*Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil, c.failed
	}
	n := min(max(1, limit), len(c.queue))
	batch := c.queue[:n:n]
	c.queue = c.queue[n:]
	now := time.Now()
	for _, m := range batch {
		m.since = now
	}
	if len(c.queue) > 0 {
		c.wake() // another caller may be waiting
	}
	return batch, nil
}

// Alive says that the worker is at work though it settles nothing, because
// what it depends on is away: everything held here counts as new, so that no
// message is given up (MaxHold), and none is delivered again, however long it
// takes. A worker that calls it and is stuck is stuck for good.
func (c *Consumer) Alive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for _, m := range c.flight {
		m.since = now
	}
}

// wake leaves a token for Next.
func (c *Consumer) wake() {
	select {
	case c.arrival <- struct{}{}:
	default:
	}
}

// Stop ends the pulling and gives back what was not handed out, so that
// another worker has it at once. What was handed out can still be settled
// until the Bus is closed.
func (c *Consumer) Stop() {
	c.stopNow()
	c.mu.Lock()
	if c.b.Conn.IsConnected() && c.replay == nil {
		c.iter.Drain() // what is on its way comes through arrived, which gives it back
	} else {
		c.iter.Stop()
	}
	back := c.queue
	c.queue = nil
	c.mu.Unlock()
	for _, m := range back {
		if raw, err := m.settle(); err == nil {
			_ = raw.Nak() // if it does not arrive, AckWait does the same later
		}
	}
	select {
	case <-c.ended:
	case <-time.After(stopTimeout): // the connection broke; AckWait does the rest
	}
	c.mu.Lock()
	pin := c.pin
	c.mu.Unlock()
	c.unpin(pin)
}

// unpin hands the active role over now instead of after PinnedTTL, where it
// is still ours. Best effort: the timeout does the same.
func (c *Consumer) unpin(pin string) {
	if pin == "" || !c.b.Conn.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	info, err := c.b.JS.Consumer(ctx, c.cfg.Stream, c.cfg.Durable)
	if err != nil {
		return
	}
	for _, group := range info.CachedInfo().PriorityGroups {
		if group.PinnedClientID != pin {
			continue
		}
		if s, err := c.b.stream(ctx, c.cfg.Stream); err == nil {
			_ = s.UnpinConsumer(ctx, c.cfg.Durable, pinnedGroup)
		}
	}
}
