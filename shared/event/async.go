package event

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"videosim/shared/errs"
)

// Pending is an event on its way.
type Pending struct {
	done chan struct{}
	seq  uint64
	err  error
}

// Wait returns what Publish would have returned, or ctx's end.
func (p *Pending) Wait(ctx context.Context) (uint64, error) {
	select {
	case <-p.done:
		return p.seq, p.err
	case <-ctx.Done():
		return 0, errs.New(errs.Unavailable, "wait for a publish: %w", ctx.Err())
	}
}

// PublishAsync starts to publish e and returns as soon as the window has room,
// or with an error where e is invalid or ctx ends first. Events of one video
// keep their order through retries: each waits for the one before it. ctx
// covers the publish as well as the wait.
func (p *Publisher) PublishAsync(ctx context.Context, e *VideoEvent) (*Pending, error) {
	msg, err := message(ctx, e)
	if err != nil {
		return nil, err
	}
	select {
	case p.window <- struct{}{}:
	case <-ctx.Done():
		return nil, errs.New(errs.Unavailable, "wait for room to publish: %w", ctx.Err())
	}
	next, before := p.async.start(msg.Subject)
	go p.fly(ctx, msg, next, before)
	return next, nil
}

func (p *Publisher) fly(ctx context.Context, msg *nats.Msg, next, before *Pending) {
	if before != nil {
		<-before.done // ends by its own deadline
	}
	next.seq, next.err = p.send(ctx, msg)
	<-p.window
	p.async.end(msg.Subject, next)
}

// Flush waits until nothing that was started before it is in flight, and
// returns the first error since the last Flush.
func (p *Publisher) Flush(ctx context.Context) error {
	landed := make(chan struct{})
	go func() {
		p.async.running.Wait() // every flight ends by its deadline
		close(landed)
	}()
	select {
	case <-landed:
		return p.async.takeError()
	case <-ctx.Done():
		return errs.New(errs.Unavailable, "wait for publishes: %w", ctx.Err())
	}
}

// flights are the events in flight.
type flights struct {
	mu        sync.Mutex
	bySubject map[string]*Pending // the last one of each subject
	failed    error               // the first since the last Flush
	running   sync.WaitGroup
}

func (f *flights) start(subject string) (next, before *Pending) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running.Add(1)
	next, before = &Pending{done: make(chan struct{})}, f.bySubject[subject]
	f.bySubject[subject] = next
	return next, before
}

func (f *flights) end(subject string, p *Pending) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bySubject[subject] == p {
		delete(f.bySubject, subject)
	}
	if f.failed == nil {
		f.failed = p.err
	}
	close(p.done)
	f.running.Done()
}

func (f *flights) takeError() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.failed
	f.failed = nil
	return err
}
