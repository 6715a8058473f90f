package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// scanQuiet is how long a scan waits for its next message before it is lost.
const scanQuiet = 10 * time.Second

// ScanEmbeddings shows each the latest embedding of every video of a model,
// tombstones too, in the order of the stream, as it is at the start of the
// call; at most perSecond of them a second, so that a scan in the background
// takes little from those who wait. What cannot be decoded is passed over: it
// is a dead letter. It ends at the first error of each.
func (b *Bus) ScanEmbeddings(ctx context.Context, fingerprint string, perSecond int, each func(*event.Embedding) error) error {
	s, err := b.stream(ctx, event.StreamEmbeddings)
	if err != nil {
		return err
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{event.EmbeddingFilter(fingerprint)}})
	if err != nil {
		return kinded(err, "scan %s", event.StreamEmbeddings)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return kinded(err, "scan %s", event.StreamEmbeddings)
	}
	left := info.NumPending
	if left == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(512))
	if err != nil {
		return kinded(err, "scan %s", event.StreamEmbeddings)
	}
	defer messages.Stop()
	start, seen := time.Now(), 0
	for ; left > 0; left-- {
		msg, err := nextMessage(ctx, messages)
		if err != nil {
			return kinded(err, "scan %s", event.StreamEmbeddings)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return errs.New(errs.Internal, "scan %s: %w", event.StreamEmbeddings, err)
		}
		e := &event.Embedding{}
		if proto.Unmarshal(msg.Data(), e) == nil {
			if err := each(e); err != nil {
				return err
			}
		}
		if meta.NumPending == 0 {
			return nil
		}
		seen++
		if ahead := time.Duration(float64(seen)/float64(perSecond)*float64(time.Second)) - time.Since(start); ahead > 5*time.Millisecond {
			select {
			case <-ctx.Done():
				return errs.New(errs.Unavailable, "scan %s: %w", event.StreamEmbeddings, ctx.Err())
			case <-time.After(ahead):
			}
		}
	}
	return nil
}

func nextMessage(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, scanQuiet)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}
