package gateway

import (
	"context"
	"fmt"
	"time"

	"videosim/gateway/query"
	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

// catalogue tells what became of a video, from the streams and the index.
type catalogue struct {
	bus         *bus.Bus
	index       vecdb.Index
	fingerprint string
}

// video describes a video's latest event. NotFound where there never was one.
// seen is the indexed sequence from before the call.
func (k *catalogue) video(ctx context.Context, id string, seen uint64) (*videoAnswer, error) {
	// The index before the stream: an event that arrives in between then shows
	// as queued, never as indexed too early.
	stored, err := k.fetch(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &videoAnswer{ID: id}
	if len(stored) > 0 {
		out.Indexed = stored[0].Sequence
	}
	v, sequence, err := k.bus.LastVideo(ctx, id)
	switch kind := errs.KindOf(err); {
	case err == nil:
		out.describe(v)
	case kind == errs.Invalid && sequence > 0: // published, but not readable: a dead letter says why
	case kind == errs.NotFound && len(stored) > 0:
		out.State, out.Sequence = stateIndexed, stored[0].Sequence
		out.describeRecord(stored[0])
		return out, nil
	case kind == errs.NotFound:
		return nil, errs.New(errs.NotFound, "video %q was never published", id)
	default:
		return nil, err
	}
	out.Sequence = sequence
	return out, k.settle(ctx, out, v, seen)
}

// fetch returns what the index holds of ids.
func (k *catalogue) fetch(ctx context.Context, ids ...string) ([]vecdb.Record, error) {
	defer query.TimingsOf(ctx).Since(query.Fetch, time.Now())
	records, err := k.index.Fetch(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("fetch %q from the index: %w", ids, err)
	}
	return records, nil
}

// settle finds the state of the event with out.Sequence. v is nil where the
// event cannot be read.
func (k *catalogue) settle(ctx context.Context, out *videoAnswer, v *event.VideoEvent, seen uint64) error {
	deleted := v.GetOp() == event.VideoEvent_DELETE
	if !deleted && out.Indexed >= out.Sequence {
		out.State = stateIndexed
		return nil
	}
	embedded, err := k.bus.LastEmbedding(ctx, k.fingerprint, out.ID)
	if err != nil && errs.KindOf(err) != errs.NotFound {
		return err
	}
	out.State = stateQueued
	if done := err == nil && embedded.Sequence >= out.Sequence; !done {
		dead, err := k.bus.LastDead(ctx, out.ID)
		return out.fail(dead, err, func() bool { return dead.Original >= out.Sequence })
	}
	if deleted && out.Indexed == 0 {
		out.State = stateDeleted
		return nil
	}
	// Embedded, and the index does not show it: it is on its way, unless the
	// index has passed it.
	dead, err := k.bus.LastDeadEmbedding(ctx, k.fingerprint, out.ID)
	return out.fail(dead, err, func() bool { return seen >= out.Sequence })
}

// fail makes the state failed where there is a dead letter that counts.
func (a *videoAnswer) fail(dead *bus.Dead, err error, counts func() bool) error {
	switch {
	case err == nil && counts():
		a.State, a.Reason, a.ReasonField = stateFailed, dead.Reason, dead.Field
	case err != nil && errs.KindOf(err) != errs.NotFound:
		return err
	}
	return nil
}

// describe copies the fields of an event.
func (a *videoAnswer) describe(v *event.VideoEvent) {
	a.Title, a.ASRText, a.CategoryID, a.TagIDs, a.ThumbnailURL = v.Title, v.AsrText, v.CategoryId, v.TagIds, v.ThumbnailUrl
	if v.PublishedAt.IsValid() {
		a.PublishedAt = v.PublishedAt.AsTime()
	}
	if f := v.Frames; f != nil {
		a.Frames = &framesInfo{Encoding: f.Encoding.String(), Dim: f.Dim, Count: f.Count, Ref: f.Ref}
	}
}

// describeRecord copies the fields that the index has.
func (a *videoAnswer) describeRecord(r vecdb.Record) {
	a.Title, a.CategoryID, a.TagIDs, a.ThumbnailURL, a.PublishedAt = r.Title, r.CategoryID, r.TagIDs, r.ThumbnailURL, utc(r.PublishedAt)
}
