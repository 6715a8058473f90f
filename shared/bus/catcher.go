package bus

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
)

// catcher is the last net under workers that die. A Consumer buries what comes
// to it for the last time; where that fails too, the server stops delivering
// the message and leaves a note. The stream EXHAUSTED keeps the notes, so they
// wait even if every process is down, and one catcher of all buses turns each
// into a dead letter.
type catcher struct {
	b    *Bus
	c    *Consumer
	done sync.WaitGroup
}

// startCatcher starts this bus's catcher, once.
func (b *Bus) startCatcher(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.catcher != nil {
		return nil
	}
	c, err := b.consume(ctx, ConsumerConfig{
		Stream:        streamExhausted,
		Durable:       "catcher",
		MaxAckPending: 16,
		MaxDeliver:    -1, // there is no net under the net
	})
	if err != nil {
		return err
	}
	n := &catcher{b: b, c: c}
	n.done.Add(1)
	go n.run()
	b.catcher = n
	return nil
}

func (n *catcher) stop() {
	n.c.Stop()
	n.done.Wait()
}

func (n *catcher) run() {
	defer n.done.Done()
	for {
		notes, err := n.c.Next(n.c.stop, 16)
		if err != nil {
			return // stopped, or the connection is closed
		}
		for _, note := range notes {
			n.handle(note)
		}
	}
}

func (n *catcher) handle(note *Message) {
	ctx, cancel := context.WithTimeout(n.c.stop, buryTimeout)
	defer cancel()
	err := n.catch(ctx, note.Data)
	if err == nil {
		err = note.Ack(ctx)
	} else if failed := note.nak(note.Delivered); failed != nil {
		err = errors.Join(err, failed)
	}
	if err != nil && n.c.stop.Err() == nil {
		n.b.log.Warn("dead letter delayed", "error", err)
	}
}

// catch reads the message that a note is about and buries it. One that is no
// longer there was replaced by a later event, which is delivered on its own.
func (n *catcher) catch(ctx context.Context, data []byte) error {
	var note struct {
		Stream     string `json:"stream"`
		Consumer   string `json:"consumer"`
		Sequence   uint64 `json:"stream_seq"`
		Deliveries uint64 `json:"deliveries"`
	}
	if err := json.Unmarshal(data, &note); err != nil || note.Stream == "" {
		n.b.log.Error("unreadable note of the server", "note", string(data), "error", err)
		return nil
	}
	s, err := n.b.stream(ctx, note.Stream)
	if err != nil {
		return err
	}
	msg, err := s.GetMsg(ctx, note.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return kinded(err, "read message %d of %s", note.Sequence, note.Stream)
	}
	return n.b.bury(ctx, letter{
		stream: note.Stream, consumer: note.Consumer, sequence: note.Sequence, deliveries: note.Deliveries,
		subject: msg.Subject, header: msg.Header, data: msg.Data,
		cause: neverAnswered(note.Deliveries),
	})
}

func neverAnswered(deliveries uint64) error {
	return errs.New(errs.Internal, "delivered %d times and never answered: its worker died or hung each time", deliveries)
}
