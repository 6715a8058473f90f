package testkit

import (
	"context"
	"testing"
	"time"

	"videosim/shared/bus"
	"videosim/shared/event"
	"videosim/shared/video"
)

// Publish returns when the stream has acknowledged all videos.
func Publish(t testing.TB, b *bus.Bus, videos []video.Video) {
	t.Helper()
	publisher, err := event.NewPublisher(b.Conn, event.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range videos {
		if _, err := publisher.PublishAsync(t.Context(), event.FromVideo(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := publisher.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Feed publishes videos again and again, in order, as edits, until ctx ends:
// so that after the first moments at least ahead of them always wait for the
// embedder of a model.
func Feed(ctx context.Context, t testing.TB, b *bus.Bus, fingerprint string, videos []video.Video, ahead int) {
	t.Helper()
	publisher, err := event.NewPublisher(b.Conn, event.PublisherConfig{})
	if err != nil {
		t.Error(err)
		return
	}
	for next := 0; ctx.Err() == nil; {
		info, err := b.ConsumerInfo(ctx, event.StreamVideos, "embedder-"+fingerprint)
		if err == nil && info.Pending >= uint64(ahead) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		for range ahead / 4 {
			if _, err := publisher.PublishAsync(ctx, event.FromVideo(videos[next%len(videos)])); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			next++
		}
		if err := publisher.Flush(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
			return
		}
	}
}
