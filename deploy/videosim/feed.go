package videosim

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"videosim/shared/bus"
	"videosim/shared/event"
	"videosim/shared/video"
)

// feed publishes every video of a data folder and returns how many there are
// and the largest sequence. It stops at the first video that cannot be read or
// stored. The format has no time of publication, so all get the moment of the call.
func feed(ctx context.Context, b *bus.Bus, folder *video.Folder) (videos int, last uint64, err error) {
	publisher, err := event.NewPublisher(b.Conn, event.PublisherConfig{})
	if err != nil {
		return 0, 0, err
	}
	// Acknowledgements are awaited beside the publishing, whose window bounds both.
	pending := make(chan *event.Pending, 256)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		for p := range pending {
			seq, err := p.Wait(ctx)
			if err != nil {
				return fmt.Errorf("publish video %d: %w", videos+1, err)
			}
			last, videos = max(last, seq), videos+1
		}
		return nil
	})
	group.Go(func() error {
		defer close(pending)
		return publishAll(ctx, publisher, []*video.Set{folder.Pointwise, folder.Pairwise}, pending)
	})
	err = group.Wait()
	return videos, last, err
}

// publishAll starts the publish of every video.
func publishAll(ctx context.Context, publisher *event.Publisher, sets []*video.Set, pending chan<- *event.Pending) error {
	now := timestamppb.New(time.Now())
	for _, set := range sets {
		for i := range set.Len() {
			v, err := set.Video(i)
			if err != nil {
				return err
			}
			e := event.FromVideo(v)
			e.PublishedAt = now
			p, err := publisher.PublishAsync(ctx, e)
			if err != nil {
				return fmt.Errorf("publish video %q: %w", v.ID, err)
			}
			select {
			case pending <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}
