package bus

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// ForgetConsumer deletes a durable consumer, so that its worker, where one
// runs, starts again at the beginning. One that is not there is no error.
func (b *Bus) ForgetConsumer(ctx context.Context, stream, durable string) error {
	err := kinded(b.JS.DeleteConsumer(ctx, stream, durable), "forget consumer %s", durable)
	if errs.KindOf(err) == errs.NotFound {
		return nil
	}
	return err
}

// PurgeEmbeddings removes the embeddings and tombstones of one model for good.
func (b *Bus) PurgeEmbeddings(ctx context.Context, fingerprint string) error {
	s, err := b.stream(ctx, event.StreamEmbeddings)
	if err != nil {
		return err
	}
	err = s.Purge(ctx, jetstream.WithPurgeSubject(event.EmbeddingFilter(fingerprint)))
	return kinded(err, "purge the embeddings of %s", fingerprint)
}
