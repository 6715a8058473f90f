package bus

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
	"videosim/shared/event"
)

const (
	maxReasonBytes = 1 << 10
	buryTimeout    = 10 * time.Second
	headersRoom    = 16 << 10 // of the server's limit, for headers
)

// letter is a message on its way to DEAD.
type letter struct {
	stream, consumer     string
	sequence, deliveries uint64
	subject              string
	header               nats.Header
	data                 []byte
	cause                error
}

// bury stores l and waits until the server has it. The message id makes a
// second attempt harmless. Unavailable where it is not stored.
func (b *Bus) bury(ctx context.Context, l letter) error {
	ctx, cancel := context.WithTimeout(ctx, buryTimeout)
	defer cancel()
	msg := l.message(int(b.Conn.MaxPayload()) - headersRoom)
	_, err := b.JS.PublishMsg(ctx, msg, jetstream.WithExpectStream(event.StreamDead))
	if err != nil {
		return errs.New(errs.Unavailable, "keep dead letter of %s %d: %w", l.stream, l.sequence, err)
	}
	kind := errs.KindOf(l.cause)
	b.metrics.dead(l.consumer, kind)
	b.log.Warn("dead letter", "consumer", l.consumer, "subject", l.subject, "sequence", l.sequence, "kind", kind.String(), "reason", l.cause)
	return nil
}

// message keeps the original's own headers; the server's, which would act
// again, are left behind. A payload beyond room is cut, and says so: the whole
// is still in its stream until the video is edited.
func (l letter) message(room int) *nats.Msg {
	msg := nats.NewMsg(event.DeadSubject(l.subject))
	for name, values := range l.header {
		if !strings.HasPrefix(name, "Nats-") && !strings.HasPrefix(name, "Videosim-Dead-") && headerBytes(values) < headersRoom/4 {
			msg.Header[name] = values
		}
	}
	msg.Data = l.data
	if len(msg.Data) > room {
		msg.Data = msg.Data[:room]
		msg.Header.Set(event.HeaderDeadTruncated, strconv.Itoa(len(l.data)))
	}
	set := func(name, value string) {
		if value != "" {
			msg.Header.Set(name, value)
		}
	}
	set(event.HeaderMsgID, fmt.Sprintf("%s-%d-%s", l.stream, l.sequence, l.consumer))
	set(event.HeaderDeadReason, oneLine(l.cause.Error()))
	set(event.HeaderDeadKind, errs.KindOf(l.cause).String())
	set(event.HeaderDeadField, oneLine(errs.FieldOf(l.cause)))
	set(event.HeaderDeadSubject, l.subject)
	set(event.HeaderDeadStream, l.stream)
	set(event.HeaderDeadSequence, strconv.FormatUint(l.sequence, 10))
	set(event.HeaderDeadConsumer, l.consumer)
	set(event.HeaderDeadDeliveries, strconv.FormatUint(l.deliveries, 10))
	set(event.HeaderDeadTime, time.Now().UTC().Format(time.RFC3339Nano))
	return msg
}

func headerBytes(values []string) int {
	n := 0
	for _, v := range values {
		n += len(v)
	}
	return n
}

// oneLine makes text fit a header.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > maxReasonBytes {
		text = strings.ToValidUTF8(text[:maxReasonBytes], "") + "…"
	}
	return text
}
