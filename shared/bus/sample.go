package bus

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// sampleParallel is how many messages of a sample are asked for at once.
const sampleParallel = 16

// SampleEmbeddings returns the latest embeddings of up to n videos of a model,
// tombstones left out: those at or behind n places spread over the stream, one
// at random in each n-th of it. A place in a gap that edits have left counts
// for the video behind it, so videos behind long gaps are a little likelier.
func (b *Bus) SampleEmbeddings(ctx context.Context, fingerprint string, n int) ([]*event.Embedding, error) {
	s, err := b.stream(ctx, event.StreamEmbeddings)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return nil, kinded(err, "stream %s", event.StreamEmbeddings)
	}
	first, last := info.State.FirstSeq, info.State.LastSeq
	if info.State.Msgs == 0 {
		return nil, nil
	}
	places := uniquePlaces(first, last, n)
	found := make([]*event.Embedding, len(places))
	failed := make([]error, len(places))
	var running sync.WaitGroup
	slots := make(chan struct{}, sampleParallel)
	for i, at := range places {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			found[i], failed[i] = embeddingAt(ctx, s, fingerprint, at)
		})
	}
	running.Wait()
	ids := make(map[string]bool, n)
	out := found[:0]
	for i, e := range found {
		if err := failed[i]; err != nil && errs.KindOf(err) != errs.NotFound {
			return nil, err
		}
		if e != nil && !e.Deleted && !ids[e.Id] {
			ids[e.Id] = true
			out = append(out, e)
		}
	}
	return out, nil
}

// uniquePlaces picks one sequence at random in each n-th of first to last.
func uniquePlaces(first, last uint64, n int) []uint64 {
	span := last - first + 1
	if span <= uint64(n) {
		places := make([]uint64, span)
		for i := range places {
			places[i] = first + uint64(i)
		}
		return places
	}
	places := make([]uint64, n)
	for i := range places {
		from, to := span*uint64(i)/uint64(n), span*uint64(i+1)/uint64(n)
		places[i] = first + from + rand.Uint64N(to-from)
	}
	return places
}

// embeddingAt reads the model's first embedding at or behind a place; nil
// where it cannot be decoded.
func embeddingAt(ctx context.Context, s jetstream.Stream, fingerprint string, at uint64) (*event.Embedding, error) {
	msg, err := s.GetMsg(ctx, at, jetstream.WithGetMsgSubject(event.EmbeddingFilter(fingerprint)))
	if err != nil {
		return nil, kinded(err, "read %s from %d", event.StreamEmbeddings, at)
	}
	e := &event.Embedding{}
	if proto.Unmarshal(msg.Data, e) != nil {
		return nil, nil
	}
	return e, nil
}
