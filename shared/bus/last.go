package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// LastVideo returns the latest event of a video and its sequence, as it was
// published (not validated). NotFound where none was; Invalid where it cannot
// be read, with the sequence.
func (b *Bus) LastVideo(ctx context.Context, id string) (*event.VideoEvent, uint64, error) {
	msg, err := b.last(ctx, event.StreamVideos, event.VideoSubject(id))
	if err != nil {
		return nil, 0, err
	}
	e, err := event.Decode(msg.Data, event.ContentTypeOf(msg.Header))
	return e, msg.Sequence, err
}

// LastEmbedding returns the latest embedding of a video by a model; a
// tombstone counts. NotFound where there is none.
func (b *Bus) LastEmbedding(ctx context.Context, fingerprint, id string) (*event.Embedding, error) {
	msg, err := b.last(ctx, event.StreamEmbeddings, event.EmbeddingSubject(fingerprint, id))
	if err != nil {
		return nil, err
	}
	e := &event.Embedding{}
	if err := proto.Unmarshal(msg.Data, e); err != nil {
		return nil, errs.New(errs.Corrupt, "decode embedding %d: %w", msg.Sequence, err)
	}
	return e, nil
}

// LastDead returns the latest failure of a video's events; NotFound where
// there is none. It may be of an event that a later one has replaced: compare
// its Original with the sequence of LastVideo.
func (b *Bus) LastDead(ctx context.Context, id string) (*Dead, error) {
	return b.lastDead(ctx, event.VideoSubject(id))
}

// LastDeadEmbedding is LastDead for what the indexer could not take.
func (b *Bus) LastDeadEmbedding(ctx context.Context, fingerprint, id string) (*Dead, error) {
	return b.lastDead(ctx, event.EmbeddingSubject(fingerprint, id))
}

func (b *Bus) lastDead(ctx context.Context, subject string) (*Dead, error) {
	msg, err := b.last(ctx, event.StreamDead, event.DeadSubject(subject))
	if err != nil {
		return nil, err
	}
	d := deadOf(msg.Sequence, msg.Header, len(msg.Data))
	return &d, nil
}

// last reads the latest message of a subject; NotFound where there is none.
func (b *Bus) last(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	msg, err := s.GetLastMsgForSubject(ctx, subject)
	return msg, kinded(err, "read the latest of %s", subject)
}

// StreamState is what a stream holds.
type StreamState struct {
	Messages uint64
	Last     uint64 // sequence; 0: nothing was ever stored
	LastTime time.Time
	Created  time.Time // the stream itself
}

// StreamState asks the server.
func (b *Bus) StreamState(ctx context.Context, stream string) (StreamState, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return StreamState{}, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return StreamState{}, kinded(err, "stream %s", stream)
	}
	return StreamState{
		Messages: info.State.Msgs, Last: info.State.LastSeq, LastTime: info.State.LastTime, Created: info.Created,
	}, nil
}
