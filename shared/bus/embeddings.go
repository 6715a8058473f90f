package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/event"
)

const (
	// storeTries is how often a store that lost a race looks again. Each loss
	// means that another embedder stored one of the few versions of one video.
	storeTries    = 16
	storePause    = 2 * time.Millisecond
	storeParallel = 32

	// The server's code for "someone stored in between".
	wrongLastSequence = jetstream.ErrorCode(10071)
)

// StoreEmbedding stores e under its model and video, unless an embedding of
// the same or a later source sequence is there: then stored is false, and
// nothing changed. However many embedders run, an older one never overwrites
// a newer one, because each store names the message that it replaces.
// Errors: Invalid (e is incomplete), Unavailable.
func (b *Bus) StoreEmbedding(ctx context.Context, e *event.Embedding) (stored bool, err error) {
	msg, err := embeddingMessage(e)
	if err != nil {
		return false, err
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(msg.Header))
	// Most videos have no embedding yet, so "none" is guessed before asking.
	last := uint64(0)
	for try := range storeTries {
		stored, err := b.storeAfter(ctx, msg, last)
		if stored || err != nil {
			return stored, err
		}
		var source uint64
		if last, source, err = b.lastStored(ctx, msg.Subject); err != nil {
			return false, err
		}
		if last > 0 && source >= e.GetSequence() {
			return false, nil
		}
		if try > 0 {
			select {
			case <-time.After(rand.N(storePause << min(try, 6))):
			case <-ctx.Done():
				return false, errs.New(errs.Unavailable, "store %s: %w", msg.Subject, ctx.Err())
			}
		}
	}
	return false, errs.New(errs.Unavailable, "store %s: others stored first %d times", msg.Subject, storeTries)
}

// StoreEmbeddings stores many at once; the errors are in their order, nil
// where an embedding is stored or a newer one is there. What two of one call
// say about one video ends with the newer.
func (b *Bus) StoreEmbeddings(ctx context.Context, all []*event.Embedding) []error {
	failed := make([]error, len(all))
	var running sync.WaitGroup
	slots := make(chan struct{}, storeParallel)
	for i, e := range all {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			_, failed[i] = b.StoreEmbedding(ctx, e)
		})
	}
	running.Wait()
	return failed
}

func embeddingMessage(e *event.Embedding) (*nats.Msg, error) {
	switch {
	case e.GetFingerprint() == "":
		return nil, errs.Field("fingerprint", "expected the model's")
	case e.GetSequence() == 0:
		return nil, errs.Field("sequence", "expected the event's sequence in %s", event.StreamVideos)
	}
	if err := event.ValidateID(e.GetId()); err != nil {
		return nil, err
	}
	data, err := proto.Marshal(e)
	if err != nil {
		return nil, errs.New(errs.Invalid, "encode embedding of %s: %w", e.GetId(), err)
	}
	msg := nats.NewMsg(event.EmbeddingSubject(e.GetFingerprint(), e.GetId()))
	msg.Data = data
	msg.Header.Set(event.HeaderContentType, event.ContentProtobuf)
	msg.Header.Set(event.HeaderSequence, strconv.FormatUint(e.GetSequence(), 10))
	return msg, nil
}

// storeAfter stores msg if the last message of its subject is last (0: none).
func (b *Bus) storeAfter(ctx context.Context, msg *nats.Msg, last uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := b.JS.PublishMsg(ctx, msg,
		jetstream.WithExpectStream(event.StreamEmbeddings),
		jetstream.WithExpectLastSequencePerSubject(last))
	var api *jetstream.APIError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &api) && api.ErrorCode == wrongLastSequence:
		return false, nil
	}
	return false, kinded(err, "store %s", msg.Subject)
}

// lastStored returns where the embedding of a subject is and which source
// sequence it is of; 0, 0 where there is none. A replica that is behind may
// answer; the store after it then fails and looks again.
func (b *Bus) lastStored(ctx context.Context, subject string) (last, source uint64, err error) {
	msg, err := b.last(ctx, event.StreamEmbeddings, subject)
	if errs.KindOf(err) == errs.NotFound {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	source, err = strconv.ParseUint(msg.Header.Get(event.HeaderSequence), 10, 64)
	if err != nil {
		// Not ours: whatever it is, ours replaces it.
		b.log.Warn("embedding without a source sequence is replaced", "subject", subject)
		return msg.Sequence, 0, nil
	}
	return msg.Sequence, source, nil
}
