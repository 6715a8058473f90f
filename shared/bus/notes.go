package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
)

// notesBucket keeps what a process must know of the one before: which model was
// promoted, how far a rebuild has come, or the index (mark.go).
const notesBucket = "videosim-notes"

func (b *Bus) notes(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := b.JS.KeyValue(ctx, notesBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = b.JS.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: notesBucket, Description: "what operators' commands remember",
			History: 8, Storage: jetstream.FileStorage, Replicas: max(1, b.cfg.Replicas),
		})
	}
	return kv, kinded(err, "open the bucket %s", notesBucket)
}

// WriteNote stores value under name, in place of what was there.
func (b *Bus) WriteNote(ctx context.Context, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode note %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := b.notes(ctx)
	if err != nil {
		return err
	}
	_, err = kv.Put(ctx, name, data)
	return kinded(err, "write note %s", name)
}

// ReadNote reads what WriteNote stored; NotFound where there is nothing.
func (b *Bus) ReadNote(ctx context.Context, name string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := b.notes(ctx)
	if err != nil {
		return err
	}
	entry, err := kv.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return errs.New(errs.NotFound, "there is no note %s", name)
	}
	if err != nil {
		return kinded(err, "read note %s", name)
	}
	if err := json.Unmarshal(entry.Value(), into); err != nil {
		return errs.New(errs.Corrupt, "decode note %s: %w", name, err)
	}
	return nil
}

// DropNote removes a note; one that is not there is no error.
func (b *Bus) DropNote(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := b.notes(ctx)
	if err != nil {
		return err
	}
	return kinded(kv.Delete(ctx, name), "drop note %s", name)
}
