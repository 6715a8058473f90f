package embedder

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"videosim/shared/model"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// unsteadyModel fails at random, with and without layers of its own done. Like the
// engine it serves one call at a time, so that a function of Meanwhile that called it
// would wait for ever.
type unsteadyModel struct {
	device torch.Device
	engine sync.Mutex
}

func (u *unsteadyModel) Device() torch.Device { return u.device }

func (u *unsteadyModel) Embed(_ context.Context, b *video.Batch, while model.Meanwhile) (model.Halves, error) {
	u.engine.Lock()
	defer u.engine.Unlock()
	if u.device == torch.CUDA && while.Next != nil {
		while.Next()
	}
	for n := 1; while.Between != nil && n <= fakeLayers; n++ {
		time.Sleep(10 * time.Microsecond)
		while.Between(n, fakeLayers, compute)
		if rand.IntN(200) == 0 {
			return model.Halves{}, errors.New("kernel failed")
		}
	}
	return compute(b)
}

func compute(b *video.Batch) (model.Halves, error) {
	time.Sleep(rand.N(500 * time.Microsecond)) // long enough to be stopped in
	switch rand.IntN(20) {
	case 0:
		return model.Halves{}, &torch.Error{Op: "linear", Message: "out of memory"}
	case 1:
		return model.Halves{}, errors.New("kernel failed")
	case 2:
		return model.Halves{Late: fakeHalves(b).Late}, nil
	}
	return fakeHalves(b), nil
}

// TestEveryVideoIsAnswered feeds both lanes of an unsteady model, lets some callers
// leave and stops at any moment: every call returns, with its own halves or with a
// reason, and nothing is left behind.
func TestEveryVideoIsAnswered(t *testing.T) {
	for _, device := range []torch.Device{torch.CPU, torch.CUDA} {
		for round := range 40 {
			stress(t, device, round)
		}
	}
}

func stress(t *testing.T, device torch.Device, round int) {
	b := idleBatcher(&unsteadyModel{device: device}, limits{videos: 4, positions: 1 << 20})
	var running sync.WaitGroup
	running.Go(func() { b.run(t.Context()) })
	for i := range 100 {
		running.Go(func() { callOnce(t, b, lane(i%2), fmt.Sprintf("v%02d", i)) })
	}
	running.Go(func() {
		time.Sleep(rand.N(15 * time.Millisecond))
		b.queue.close(bulk)
		time.Sleep(rand.N(5 * time.Millisecond))
		b.queue.close(interactive)
	})
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("%v, round %d: a call or the batcher does not return; %d and %d videos wait", device, round, b.queue.depth(interactive), b.queue.depth(bulk))
	}
	if n := b.queue.depth(interactive) + b.queue.depth(bulk); n != 0 {
		t.Errorf("%v, round %d: %d videos wait after the end", device, round, n)
	}
}

// callOnce embeds one video at some time, and leaves early in one case of four.
func callOnce(t *testing.T, b *batcher, l lane, id string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.Sleep(rand.N(10 * time.Millisecond))
	if rand.IntN(4) == 0 {
		time.AfterFunc(rand.N(5*time.Millisecond), cancel)
	}
	r, err := b.embed(ctx, l, row(id))
	if err == nil && (!slices.Equal(r.late, fakeHalf(id, 1)) || !slices.Equal(r.early, fakeHalf(id, 2))) {
		t.Errorf("%s got the halves of another video", id)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		t.Errorf("%s: %v, but its caller has not left", id, err)
	}
}
