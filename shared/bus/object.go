package bus

import (
	"context"
	"errors"
	"io"

	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
)

// Object reads one object of NATS's object store, for frames that are sent by
// reference. NotFound where it does not exist, Invalid where it is larger than
// maxBytes.
func (b *Bus) Object(ctx context.Context, bucket, key string, maxBytes int) ([]byte, error) {
	store, err := b.JS.ObjectStore(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, errs.New(errs.NotFound, "object store %s: %w", bucket, err)
	}
	if err != nil {
		return nil, kinded(err, "object store %s", bucket)
	}
	object, err := store.Get(ctx, key)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, errs.New(errs.NotFound, "object %s/%s: %w", bucket, key, err)
	}
	if err != nil {
		return nil, kinded(err, "object %s/%s", bucket, key)
	}
	defer object.Close()
	data, err := io.ReadAll(io.LimitReader(object, int64(maxBytes)+1))
	if err != nil {
		return nil, kinded(err, "read object %s/%s", bucket, key)
	}
	if len(data) > maxBytes {
		return nil, errs.New(errs.Invalid, "object %s/%s: expected at most %d bytes", bucket, key, maxBytes)
	}
	return data, nil
}
