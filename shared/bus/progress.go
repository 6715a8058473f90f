package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
	"videosim/shared/event"
)

const (
	// progressEvery is how often the consumers are asked while events are on
	// their way; it is what freshness costs on top of the work itself.
	progressEvery = 25 * time.Millisecond
	// progressIdle is how often they are asked when nothing is.
	progressIdle = time.Second
	// progressRetry is how often, when they cannot be.
	progressRetry = 250 * time.Millisecond
	// notesLost is how long notes may be late before they count as lost.
	notesLost = 500 * time.Millisecond
	// maxCheckpoints bounds those that wait for the indexer; when they are
	// full, older ones wait for the next.
	maxCheckpoints = 256

	// Notes waiting in this process; dropped ones make a gap, no more.
	maxNotes     = 1 << 18
	maxNoteBytes = 128 << 20
)

// Progress knows up to which event of VIDEOS the index of one model answers:
// every event up to Sequence has been embedded and indexed, itself or a later
// one of its video, or is a dead letter. It ties publishing to searching.
//
// Each round reads in this order, so that every error is on the late side:
//
//	F  the embedder's floor on VIDEOS         every effect up to F is stored,
//	E  then the last sequence of EMBEDDINGS   so it is at or before E
//	H  then the indexer's floor               once H ≥ E, all of it is indexed
//
// and trail corrects both floors for messages that were replaced while they
// waited. A mark (mark.go) carries the sequence over a restart. An index in
// memory is followed through the Bus that its indexer uses: a consumer left by
// an earlier process says nothing about it.
type Progress struct {
	b           *Bus
	fingerprint string
	videos      *follower
	embeddings  *follower

	mu          sync.Mutex
	sequence    uint64
	grown       chan struct{} // closed when sequence grows
	checkpoints []checkpoint  // rising in both; waiting for the indexer

	left       mark // the last one
	leaveAfter time.Time
}

// checkpoint: every event up to sequence is embedded at or before stored.
type checkpoint struct{ sequence, stored uint64 }

// NewProgress returns the progress of a model, which stands still until Run.
func NewProgress(b *Bus, fingerprint string) *Progress {
	return &Progress{b: b, fingerprint: fingerprint, grown: make(chan struct{})}
}

// Sequence is the indexed sequence; 0 where none is known yet. It goes down only
// where what was seen may be lost: see errLost.
func (p *Progress) Sequence() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sequence
}

// Wait returns once the index has seen the event seq, or Unavailable when ctx
// ends first.
func (p *Progress) Wait(ctx context.Context, seq uint64) error {
	for {
		p.mu.Lock()
		now, grown := p.sequence, p.grown
		p.mu.Unlock()
		if now >= seq {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return errs.New(errs.Unavailable, "wait for sequence %d: the index has seen %d: %w", seq, now, ctx.Err())
		}
	}
}

// Run follows both streams until ctx ends, which is no error. While NATS or a
// consumer is away, the sequence stands still.
func (p *Progress) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := p.live(ctx)
		if !errors.Is(err, errLost) {
			return err
		}
		p.b.log.Warn("what the index had seen is counted again", "reason", err)
	}
	return nil
}

// live begins with what a mark says, or nothing, and ends with ctx or errLost.
func (p *Progress) live(ctx context.Context) error {
	p.begin()
	for _, f := range []*follower{p.videos, p.embeddings} {
		sub, err := f.subscribe()
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	}
	p.recall(ctx)
	for ctx.Err() == nil {
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	p.leave(context.WithoutCancel(ctx), true)
	return nil
}

// step is a round and the rest after it. It ends early when the connection is
// back after a break, for the next to look at once what the server has now.
func (p *Progress) step(ctx context.Context) error {
	ctx, cancel := p.b.onConnection(ctx)
	defer cancel()
	behind, err := p.round(ctx)
	if errors.Is(err, errLost) {
		return err
	}
	if err != nil && ctx.Err() == nil && errs.KindOf(err) != errs.NotFound {
		p.b.log.Debug("progress not known now", "error", err)
	}
	pause := progressIdle
	switch {
	case err != nil:
		pause = progressRetry
	case behind:
		pause = progressEvery
	}
	p.leave(ctx, false)
	p.rest(ctx, pause, behind)
	return nil
}

// begin forgets all.
func (p *Progress) begin() {
	p.videos = newFollower(p.b, event.StreamVideos, "embedder-"+p.fingerprint, "videos.")
	p.embeddings = newFollower(p.b, event.StreamEmbeddings, "indexer-"+p.fingerprint, "embeddings."+p.fingerprint+".")
	p.embeddings.fills = true
	p.left = mark{}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequence, p.checkpoints = 0, nil
}

// rest waits for the next round; a note ends an idle pause at once.
func (p *Progress) rest(ctx context.Context, pause time.Duration, behind bool) {
	notes := p.videos.trail.note
	if behind {
		notes = nil
	}
	select {
	case <-ctx.Done():
	case <-notes:
	case <-time.After(pause):
	}
}

// round asks once, and says whether events are on their way.
func (p *Progress) round(ctx context.Context) (behind bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	floor, err := p.videos.follow(ctx)
	if err != nil {
		return true, err
	}
	stored, err := p.b.StreamState(ctx, event.StreamEmbeddings)
	if err != nil {
		return true, err
	}
	p.checkpoint(floor, stored.Last)
	indexed, err := p.embeddings.follow(ctx)
	if err != nil {
		return true, err
	}
	p.reached(indexed)
	seen, _ := p.videos.trail.snapshot()
	return p.Sequence() < seen, nil
}

func (p *Progress) checkpoint(sequence, stored uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.checkpoints)
	switch {
	case sequence <= p.sequence, n > 0 && sequence <= p.checkpoints[n-1].sequence:
	case n == maxCheckpoints:
		p.checkpoints[n-1] = checkpoint{sequence, stored}
	default:
		p.checkpoints = append(p.checkpoints, checkpoint{sequence, stored})
	}
}

// reached takes the checkpoints that the indexer has passed.
func (p *Progress) reached(indexed uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	passed := 0
	for passed < len(p.checkpoints) && p.checkpoints[passed].stored <= indexed {
		p.sequence = p.checkpoints[passed].sequence
		passed++
	}
	if passed > 0 {
		p.checkpoints = append(p.checkpoints[:0], p.checkpoints[passed:]...)
		p.tell()
	}
}

// grow is for the start, from a mark.
func (p *Progress) grow(sequence uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequence = sequence
	p.tell()
}

// tell wakes those that wait. The caller holds mu.
func (p *Progress) tell() {
	close(p.grown)
	p.grown = make(chan struct{})
}

// follower reads where one consumer stands, and corrects it by its trail.
type follower struct {
	b               *Bus
	stream, durable string
	trail           *trail
	fills           bool // the consumer's effects are in the index

	started    bool
	made       time.Time // the stream, as first seen
	place      place     // of the last round
	connection uint64    // the number of the connection before that was asked for
	unsure     bool      // whether the next start may count on the place; no marks then
	stuckAt    uint64    // notes had come up to here
	stuckFor   time.Time
}

func newFollower(b *Bus, stream, durable, filter string) *follower {
	return &follower{b: b, stream: stream, durable: durable, trail: newTrail(filter)}
}

func (f *follower) subscribe() (*nats.Subscription, error) {
	sub, err := f.b.Conn.Subscribe(storedPrefix+f.stream+".>", f.trail.receive)
	if err == nil {
		err = sub.SetPendingLimits(maxNotes, maxNoteBytes)
	}
	return sub, kinded(err, "follow stream %s", f.stream)
}

// follow returns the sequence up to which every message has taken effect.
func (f *follower) follow(ctx context.Context) (uint64, error) {
	if !f.started {
		if err := f.catchUp(ctx); err != nil {
			return 0, err
		}
		f.started = true
	}
	connection := f.b.Conn.Stats().Reconnects
	// What was stored before the consumer is asked is in its answer.
	seen, mine := f.trail.snapshot()
	info, err := f.b.ConsumerInfo(ctx, f.stream, f.durable)
	if errs.KindOf(err) == errs.NotFound && f.fills && !f.place.Made.IsZero() {
		return 0, fmt.Errorf("%w: consumer %s is gone, to be made anew", errLost, f.durable)
	}
	if err != nil {
		return 0, err
	}
	if info.memoryOf != "" && info.memoryOf != f.b.id {
		return 0, errs.New(errs.Unavailable, "consumer %s belongs to an index in the memory of another process", f.durable)
	}
	settled := info.AckFloor
	idle := info.Pending == 0 && info.AckPending == 0
	// Pending counts late by a moment, so it is not enough that it is 0.
	if settled >= mine || idle && info.Delivered >= mine {
		settled = max(settled, seen)
	}
	state, err := f.b.StreamState(ctx, f.stream)
	if err != nil {
		return 0, err
	}
	if err := f.same(state); err != nil {
		return 0, err
	}
	now := place{Made: info.Created, Last: state.Last, Time: state.LastTime}
	if err := f.moves(ctx, now, connection); err != nil {
		return 0, err
	}
	floor, current := f.trail.advance(settled, state.Last)
	return floor, f.unstick(ctx, seen, current && !(idle && floor < seen))
}

// unstick asks the server itself where notes do not come, or where the last
// message that the consumer would get was deleted by hand.
func (f *follower) unstick(ctx context.Context, seen uint64, fine bool) error {
	if fine || seen != f.stuckAt || f.stuckFor.IsZero() {
		f.stuckAt, f.stuckFor = seen, time.Now()
		return nil
	}
	if time.Since(f.stuckFor) < notesLost {
		return nil
	}
	f.stuckFor = time.Now()
	return f.catchUp(ctx)
}

// catchUp starts the trail from what the stream holds now.
func (f *follower) catchUp(ctx context.Context) error {
	asOf, _ := f.trail.snapshot()
	state, err := f.b.StreamState(ctx, f.stream)
	if err != nil {
		return err
	}
	mine := uint64(0)
	s, err := f.b.stream(ctx, f.stream)
	if err != nil {
		return err
	}
	msg, err := s.GetLastMsgForSubject(ctx, f.trail.filter+">")
	switch {
	case err == nil:
		mine = msg.Sequence
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return kinded(err, "last message of %s", f.durable)
	}
	f.trail.resync(asOf, state.Last, mine)
	return nil
}
