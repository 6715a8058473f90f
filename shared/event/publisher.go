package event

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
)

// PublisherConfig bounds a Publisher. The zero value means the defaults.
type PublisherConfig struct {
	// Window is the most events in flight. Default 256: JetStream gains
	// nothing from more, and they are held in memory.
	Window int
	// Deadline ends the retries of one event. Default 30 s; at most 90 s,
	// because the stream recognises a retry for two minutes only.
	Deadline time.Duration
	// Attempt is how long one try may wait for the server's answer. Default 5 s.
	Attempt time.Duration
}

const (
	maxDeadline   = 90 * time.Second
	firstPause    = 50 * time.Millisecond
	longestPause  = 2 * time.Second
	defaultWindow = 256
)

// Publisher publishes events to VIDEOS. Each publish has one message id of
// its own, kept through its retries, so that a lost answer never makes two
// events of one. Safe for concurrent use.
type Publisher struct {
	js     jetstream.JetStream
	cfg    PublisherConfig
	window chan struct{} // one token an event in flight
	async  flights
}

// NewPublisher returns a Publisher on a connection that it does not close.
func NewPublisher(nc *nats.Conn, cfg PublisherConfig) (*Publisher, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	if cfg.Window <= 0 {
		cfg.Window = defaultWindow
	}
	if cfg.Deadline <= 0 {
		cfg.Deadline = 30 * time.Second
	}
	cfg.Deadline = min(cfg.Deadline, maxDeadline)
	if cfg.Attempt <= 0 {
		cfg.Attempt = 5 * time.Second
	}
	return &Publisher{
		js:     js,
		cfg:    cfg,
		window: make(chan struct{}, cfg.Window),
		async:  flights{bySubject: map[string]*Pending{}},
	}, nil
}

// Publish stores e and returns its sequence in VIDEOS, which is the video's
// new version. Errors are Invalid (by field) or Unavailable; after Unavailable
// the event may or may not be stored, and publishing it again is harmless.
func (p *Publisher) Publish(ctx context.Context, e *VideoEvent) (uint64, error) {
	msg, err := message(ctx, e)
	if err != nil {
		return 0, err
	}
	return p.send(ctx, msg)
}

// message encodes e. The trace that ctx carries travels in the header.
func message(ctx context.Context, e *VideoEvent) (*nats.Msg, error) {
	if err := Validate(e, 0); err != nil {
		return nil, err
	}
	data, err := proto.Marshal(e)
	if err != nil {
		return nil, errs.New(errs.Invalid, "encode event: %w", err)
	}
	if len(data) > MaxEventBytes-headroom {
		return nil, errs.New(errs.Invalid, "expected an event of at most %d bytes, found %d", MaxEventBytes-headroom, len(data))
	}
	msg := nats.NewMsg(VideoSubject(e.GetId()))
	msg.Data = data
	msg.Header.Set(HeaderContentType, ContentProtobuf)
	msg.Header.Set(HeaderMsgID, nuid.Next())
	InjectTrace(ctx, msg.Header)
	return msg, nil
}

// headroom is what headers may add to an event within the server's limit.
const headroom = 16 << 10

// send tries until the server answers, refuses, or the time is up.
func (p *Publisher) send(ctx context.Context, msg *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Deadline)
	defer cancel()
	pause := firstPause
	for {
		seq, err := p.attempt(ctx, msg)
		switch {
		case err == nil:
			return seq, nil
		case refused(err):
			return 0, errs.New(errs.Invalid, "publish %s: %w", msg.Subject, err)
		case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrPermissionViolation):
			return 0, errs.New(errs.Unavailable, "publish %s: %w", msg.Subject, err)
		}
		// Half the pause at random, so that producers do not come back together.
		wait := pause/2 + rand.N(pause/2)
		select {
		case <-ctx.Done():
			return 0, errs.New(errs.Unavailable, "publish %s: %w (last try: %w)", msg.Subject, ctx.Err(), err)
		case <-time.After(wait):
		}
		pause = min(2*pause, longestPause)
	}
}

func (p *Publisher) attempt(ctx context.Context, msg *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Attempt)
	defer cancel()
	ack, err := p.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(StreamVideos), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// refused reports whether the same message can never be accepted. No answer,
// no stream yet, and a server that is not ready or full (5xx) may pass.
func refused(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code < 500
	}
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) || errors.Is(err, nats.ErrHeadersNotSupported)
}
