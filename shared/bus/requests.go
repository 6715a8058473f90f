package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/event"
)

const (
	// embedGroup makes each request go to one embedder.
	embedGroup = "embedders"
	// embedTimeout is the deadline of a request whose caller has none.
	embedTimeout = 10 * time.Second
	// embedParallel is a last bound on requests inside one embedder, which has
	// its own admission below it; the next one is told to come back.
	embedParallel = 256
)

// EmbedHandler answers one request. ctx ends at the caller's deadline.
type EmbedHandler func(ctx context.Context, req *event.EmbedRequest) *event.EmbedReply

// embedServer answers requests.
type embedServer struct {
	b       *Bus
	handler EmbedHandler
	slots   chan struct{}
}

// ServeEmbed answers embed requests for a model until ctx ends, sharing them
// with every other embedder of that model; it returns as soon as the server
// routes requests here. Requests that have begun then are still answered. At
// most embedParallel are with the handler at a time; beyond, the answer is
// Overloaded at once.
func (b *Bus) ServeEmbed(ctx context.Context, fingerprint string, handler EmbedHandler) error {
	subject := event.EmbedSubject(fingerprint)
	s := &embedServer{b: b, handler: handler, slots: make(chan struct{}, embedParallel)}
	sub, err := b.Conn.QueueSubscribe(subject, embedGroup, s.receive)
	if err != nil {
		return kinded(err, "serve %s", subject)
	}
	// The server must know before anyone is told that we are ready.
	if err := b.Conn.FlushTimeout(requestTimeout); err != nil {
		return kinded(errors.Join(err, sub.Unsubscribe()), "serve %s", subject)
	}
	context.AfterFunc(ctx, func() {
		if err := sub.Unsubscribe(); err != nil && !b.Conn.IsClosed() {
			b.log.Warn("cannot end the embed subscription", "error", err)
		}
	})
	return nil
}

// receive runs on the subscription's goroutine, so it only admits.
func (s *embedServer) receive(msg *nats.Msg) {
	select {
	case s.slots <- struct{}{}:
		go func() {
			defer func() { <-s.slots }()
			s.answer(msg)
		}()
	default:
		s.reply(msg, failed(errs.New(errs.Overloaded, "the embedder has %d requests waiting", embedParallel)))
	}
}

func (s *embedServer) answer(msg *nats.Msg) {
	deadline := time.Now().Add(embedTimeout)
	if ms, err := strconv.ParseInt(msg.Header.Get(event.HeaderDeadline), 10, 64); err == nil {
		deadline = time.UnixMilli(ms)
	}
	ctx := event.ExtractTrace(s.b.closed, msg.Header)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if ctx.Err() != nil {
		return // nobody waits any more
	}
	req := &event.EmbedRequest{}
	if err := proto.Unmarshal(msg.Data, req); err != nil {
		s.reply(msg, failed(errs.New(errs.Invalid, "decode embed request: %w", err)))
		return
	}
	s.reply(msg, s.handler(ctx, req))
}

func (s *embedServer) reply(msg *nats.Msg, reply *event.EmbedReply) {
	data, err := s.b.sized("reply", reply)
	if err != nil {
		if data, err = proto.Marshal(failed(err)); err != nil {
			s.b.log.Error("cannot encode an embed reply", "error", err)
			return
		}
	}
	if err := msg.Respond(data); err != nil {
		s.b.log.Warn("embed reply not sent", "error", err)
	}
}

func failed(err error) *event.EmbedReply {
	reply := &event.EmbedReply{}
	reply.ErrorKind, _, reply.Error = event.FaultOf(err)
	return reply
}

// sized encodes m, or says that the server would not carry it.
func (b *Bus) sized(what string, m proto.Message) ([]byte, error) {
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, errs.New(errs.Invalid, "encode embed %s: %w", what, err)
	}
	if most := int(b.Conn.MaxPayload()) - headersRoom; len(data) > most {
		return nil, errs.New(errs.Invalid, "embed %s: expected at most %d bytes, found %d: ask for fewer videos at a time", what, most, len(data))
	}
	return data, nil
}

// MaxRequestBytes is how large the videos of one RequestEmbed may be, encoded.
func (b *Bus) MaxRequestBytes() int { return int(b.Conn.MaxPayload()) - headersRoom }

// RequestEmbed asks an embedder of the model. ctx's deadline travels with the
// request; without one it is 10 s. Errors: Unavailable (no embedder runs, or
// none answered in time), Overloaded, Invalid (too large), and what the
// embedder says about the whole request; single videos fail in the reply.
func (b *Bus) RequestEmbed(ctx context.Context, fingerprint string, req *event.EmbedRequest) (*event.EmbedReply, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, embedTimeout)
		defer cancel()
	}
	msg := nats.NewMsg(event.EmbedSubject(fingerprint))
	var err error
	if msg.Data, err = b.sized("request", req); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	msg.Header.Set(event.HeaderDeadline, strconv.FormatInt(deadline.UnixMilli(), 10))
	event.InjectTrace(ctx, msg.Header)
	answer, err := b.Conn.RequestMsgWithContext(ctx, msg)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, errs.New(errs.Unavailable, "no embedder runs for model %s", fingerprint)
	case err != nil:
		return nil, errs.New(errs.Unavailable, "ask an embedder of model %s: %w", fingerprint, err)
	}
	reply := &event.EmbedReply{}
	if err := proto.Unmarshal(answer.Data, reply); err != nil {
		return nil, errs.New(errs.Corrupt, "decode embed reply: %w", err)
	}
	if err := event.Fault(reply.GetErrorKind(), "", reply.GetError()); err != nil {
		return nil, fmt.Errorf("embedder: %w", err)
	}
	if want, found := len(req.GetVideos()), len(reply.GetResults()); want != found {
		return nil, errs.New(errs.Corrupt, "embed reply: expected %d results, found %d", want, found)
	}
	return reply, nil
}
