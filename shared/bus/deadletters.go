package bus

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// Dead is a dead letter.
type Dead struct {
	Sequence   uint64 // in DEAD; what Requeue and Drop take
	Subject    string // of the original
	Stream     string // of the original
	Original   uint64 // the original's sequence in its stream
	Consumer   string // who failed
	Kind       errs.Kind
	Field      string // where the error named one
	Reason     string
	Deliveries uint64
	Time       time.Time // when it was given up
	Bytes      int       // of the original's payload
	Truncated  bool      // DEAD holds only the first part of it
}

// MaxDeadListed is the most dead letters that one call lists.
const MaxDeadListed = 10_000

// DeadFilter chooses dead letters. The zero value means the oldest of all.
type DeadFilter struct {
	Subject string // of the original, wildcards allowed: "videos.>"; "" means all
	From    uint64 // the first sequence in DEAD
	Limit   int    // default 100, at most MaxDeadListed
}

// DeadLetters lists dead letters, oldest first.
func (b *Bus) DeadLetters(ctx context.Context, f DeadFilter) ([]Dead, error) {
	if f.Subject == "" {
		f.Subject = ">"
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	f.Limit = min(f.Limit, MaxDeadListed)
	conf := jetstream.OrderedConsumerConfig{FilterSubjects: []string{event.DeadSubject(f.Subject)}, HeadersOnly: true}
	if f.From > 0 {
		conf.DeliverPolicy, conf.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.From
	}
	cons, err := b.JS.OrderedConsumer(ctx, event.StreamDead, conf)
	if err != nil {
		return nil, kinded(err, "list dead letters")
	}
	waiting := cons.CachedInfo().NumPending
	if waiting == 0 {
		return nil, nil
	}
	iter, err := cons.Messages(jetstream.PullMaxMessages(256))
	if err != nil {
		return nil, kinded(err, "list dead letters")
	}
	defer iter.Stop()
	var list []Dead
	for uint64(len(list)) < min(waiting, uint64(f.Limit)) {
		msg, err := iter.Next(jetstream.NextContext(ctx))
		if err != nil {
			return list, kinded(err, "list dead letters")
		}
		meta, err := msg.Metadata()
		if err != nil {
			return list, kinded(err, "list dead letters")
		}
		size, _ := strconv.Atoi(msg.Headers().Get("Nats-Msg-Size"))
		list = append(list, deadOf(meta.Sequence.Stream, msg.Headers(), size))
		if meta.NumPending == 0 {
			break
		}
	}
	return list, nil
}

// ShowDead returns one dead letter with the original's headers and payload.
func (b *Bus) ShowDead(ctx context.Context, sequence uint64) (Dead, nats.Header, []byte, error) {
	msg, err := b.message(ctx, event.StreamDead, sequence)
	if err != nil {
		return Dead{}, nil, nil, err
	}
	header := nats.Header{}
	for name, values := range msg.Header {
		if !strings.HasPrefix(name, "Videosim-Dead-") && !strings.HasPrefix(name, "Nats-") {
			header[name] = values
		}
	}
	return deadOf(msg.Sequence, msg.Header, len(msg.Data)), header, msg.Data, nil
}

// RequeueDead publishes the original again, as the newest message of its
// subject, and drops the dead letter. It is Invalid where something newer was
// published since: the old one must not win over it. Returns the new sequence.
func (b *Bus) RequeueDead(ctx context.Context, sequence uint64) (uint64, error) {
	dead, header, data, err := b.ShowDead(ctx, sequence)
	if err != nil {
		return 0, err
	}
	if dead.Truncated {
		whole, err := b.message(ctx, dead.Stream, dead.Original)
		if err != nil {
			return 0, errs.New(errs.KindOf(err), "the whole of dead letter %d: %w", sequence, err)
		}
		data = whole.Data
	}
	last, err := b.last(ctx, dead.Stream, dead.Subject)
	expected := uint64(0)
	switch {
	case err == nil:
		expected = last.Sequence
	case errs.KindOf(err) != errs.NotFound:
		return 0, err
	}
	if expected > dead.Original {
		return 0, errs.New(errs.Invalid, "dead letter %d: %s has a newer message, %d: drop the dead letter", sequence, dead.Subject, expected)
	}
	msg := nats.NewMsg(dead.Subject)
	msg.Data, msg.Header = data, header
	msg.Header.Set(event.HeaderMsgID, nuid.Next())
	ack, err := b.JS.PublishMsg(ctx, msg,
		jetstream.WithExpectStream(dead.Stream), jetstream.WithExpectLastSequencePerSubject(expected))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == wrongLastSequence {
		return 0, errs.New(errs.Invalid, "dead letter %d: %s got a newer message meanwhile", sequence, dead.Subject)
	}
	if err != nil {
		return 0, kinded(err, "requeue dead letter %d", sequence)
	}
	return ack.Sequence, b.DropDead(ctx, sequence)
}

// DropDead deletes a dead letter for good.
func (b *Bus) DropDead(ctx context.Context, sequence uint64) error {
	s, err := b.stream(ctx, event.StreamDead)
	if err != nil {
		return err
	}
	if _, err := b.message(ctx, event.StreamDead, sequence); err != nil {
		return err
	}
	return kinded(s.DeleteMsg(ctx, sequence), "drop dead letter %d", sequence)
}

// message reads one message by its sequence; NotFound where it is gone.
func (b *Bus) message(ctx context.Context, stream string, sequence uint64) (*jetstream.RawStreamMsg, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	msg, err := s.GetMsg(ctx, sequence)
	return msg, kinded(err, "message %d of %s", sequence, stream)
}

// deadOf reads the headers of a dead letter; what cannot be read stays zero.
func deadOf(sequence uint64, h nats.Header, size int) Dead {
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(h.Get(name), 10, 64)
		return n
	}
	at, _ := time.Parse(time.RFC3339Nano, h.Get(event.HeaderDeadTime))
	d := Dead{
		Sequence:   sequence,
		Subject:    h.Get(event.HeaderDeadSubject),
		Stream:     h.Get(event.HeaderDeadStream),
		Original:   number(event.HeaderDeadSequence),
		Consumer:   h.Get(event.HeaderDeadConsumer),
		Kind:       event.KindNamed(h.Get(event.HeaderDeadKind)),
		Field:      h.Get(event.HeaderDeadField),
		Reason:     h.Get(event.HeaderDeadReason),
		Deliveries: number(event.HeaderDeadDeliveries),
		Time:       at,
		Bytes:      size,
	}
	if whole := number(event.HeaderDeadTruncated); whole > 0 {
		d.Bytes, d.Truncated = int(whole), true
	}
	return d
}
