package embedder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"videosim/shared/errs"
	"videosim/shared/model"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// fakeModel stands for the tensor engine: a row's halves follow from its id
// alone, so a test sees whether every answer reached its own video.
type fakeModel struct {
	gate   chan struct{} // where set, every call waits for one token
	most   int           // larger batches run out of memory; 0: none do, -1: all
	refuse int           // batches of so many fail otherwise; 0: none do
	poison string        // id that the engine cannot stand
	broken bool          // everything fails, the canary too
	lost   bool          // so does it, with CUDA's own error
	device torch.Device  // a GPU takes the next batch while it computes
	layer  func(n int)   // called before each of fakeLayers; nil: the model has none
	pause  time.Duration // of a batch between layers

	mu     sync.Mutex
	calls  [][]string
	staged *video.Batch // on the device
	ahead  [][]string   // that have been there
	found  int          // calls whose batch was there
}

func (f *fakeModel) Device() torch.Device { return f.device }

// fakeLayers is how many layers a model has that has some: two for each time that a
// batch of the stream may stand aside, and the last two.
const fakeLayers = 2 * (interactiveRun + 1)

func (f *fakeModel) Embed(ctx context.Context, b *video.Batch, while model.Meanwhile) (model.Halves, error) {
	refusal := f.begin(b)
	if refusal == nil && f.device == torch.CUDA && while.Next != nil {
		f.stage(while.Next())
	}
	for n := 1; f.layer != nil && while.Between != nil && n <= fakeLayers; n++ {
		f.layer(n)
		while.Between(n, fakeLayers, func(b *video.Batch) (model.Halves, error) {
			time.Sleep(f.pause)
			if err := f.begin(b); err != nil {
				return model.Halves{}, err
			}
			return fakeHalves(b), nil
		})
	}
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return model.Halves{}, ctx.Err()
		}
	}
	if refusal != nil {
		return model.Halves{}, refusal
	}
	return fakeHalves(b), nil
}

func fakeHalves(b *video.Batch) (h model.Halves) {
	for _, id := range b.IDs {
		h.Late = append(h.Late, fakeHalf(id, 1))
		h.Early = append(h.Early, fakeHalf(id, 2))
	}
	return h
}

// begin notes a call, and says why it fails, if it does.
func (f *fakeModel) begin(b *video.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, slices.Clone(b.IDs))
	if f.staged == b {
		f.staged, f.found = nil, f.found+1
	}
	switch {
	case f.broken:
		return errors.New("device lost")
	case f.lost:
		return &torch.Error{Op: "read", Message: "CUDA error: an illegal memory access was encountered"}
	case f.most != 0 && b.Len() > f.most:
		return &torch.Error{Op: "linear", Message: fmt.Sprintf("out of memory at %d videos", b.Len())}
	case b.Len() == f.refuse:
		return errors.New("kernel failed")
	case f.poison != "" && slices.Contains(b.IDs, f.poison):
		return errors.New("kernel failed")
	}
	return nil
}

func (f *fakeModel) stage(b *video.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b != nil {
		f.staged, f.ahead = b, append(f.ahead, slices.Clone(b.IDs))
	}
}

// set changes the model between two calls.
func (f *fakeModel) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeModel) batches() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// fakeHalf is 256 finite numbers made of the id.
func fakeHalf(id string, salt int) []float32 {
	half := make([]float32, 256)
	x := uint32(2166136261 + salt)
	for _, c := range []byte(id) {
		x = (x ^ uint32(c)) * 16777619
	}
	for i := range half {
		x = x*1664525 + 1013904223
		half[i] = float32(x>>8)/(1<<23) - 1
	}
	return half
}

// idleBatcher is one that does not run.
func idleBatcher(m Model, l limits) *batcher {
	return &batcher{
		model: m, queue: newQueue(l), metrics: newMetrics(prometheus.NewRegistry()),
		health: &health{model: m, canary: row("canary"), serving: true},
	}
}

func newBatcher(t *testing.T, m Model, l limits) *batcher {
	t.Helper()
	b := idleBatcher(m, l)
	done := make(chan struct{})
	go func() { defer close(done); b.run(context.Background()) }()
	t.Cleanup(func() { b.queue.close(bulk); b.queue.close(interactive); <-done })
	return b
}

func row(id string) *video.Batch {
	tokens := func(n int) video.Tokens {
		return video.Tokens{Len: n, IDs: make([]int64, n), Types: make([]int64, n), Mask: make([]int64, n)}
	}
	return &video.Batch{
		IDs: []string{id}, Late: tokens(4), Early: tokens(2), FrameLen: 1, FrameDim: 2, Half: make([]uint16, 2),
		FrameCount: []int{1}, Reports: make([]video.Report, 1),
	}
}

// embedAll embeds the ids at once, in one lane, and returns the errors by id.
// It fails the test where an answer belongs to another video.
func embedAll(t *testing.T, b *batcher, l lane, ids ...string) map[string]error {
	t.Helper()
	var mu sync.Mutex
	failed := make(map[string]error)
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			r, err := b.embed(t.Context(), l, row(id))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[id] = err
			} else if !slices.Equal(r.late, fakeHalf(id, 1)) || !slices.Equal(r.early, fakeHalf(id, 2)) {
				t.Errorf("%s got the halves of another video", id)
			}
		})
	}
	all.Wait()
	return failed
}

func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("v%02d", i)
	}
	return out
}

// await polls until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s: %s", what)
		}
	}
}

func TestBatchFormsWhileTheModelIsBusy(t *testing.T) {
	m := &fakeModel{gate: make(chan struct{})}
	b := newBatcher(t, m, limits{videos: 64, positions: 1 << 20})
	first := make(chan map[string]error)
	go func() { first <- embedAll(t, b, bulk, "first") }()
	await(t, "the first batch at the model", func() bool { return len(m.batches()) == 1 })

	rest := make(chan map[string]error)
	go func() { rest <- embedAll(t, b, bulk, ids(20)...) }()
	await(t, "twenty videos in the queue", func() bool { return b.queue.depth(bulk) == 20 })
	close(m.gate)
	if failed := <-first; len(failed) > 0 {
		t.Error(failed)
	}
	if failed := <-rest; len(failed) > 0 {
		t.Error(failed)
	}
	if calls := m.batches(); len(calls) != 2 || len(calls[0]) != 1 || len(calls[1]) != 20 {
		t.Errorf("batches %v, want one of 1 (no wait for company), then one of 20", calls)
	}
}

func TestQueryOvertakesTheStream(t *testing.T) {
	m := &fakeModel{gate: make(chan struct{})}
	b := newBatcher(t, m, limits{videos: 4, positions: 1 << 20})
	done := make(chan map[string]error, 2)
	go func() { done <- embedAll(t, b, bulk, ids(13)...) }()
	await(t, "a batch at the model, the rest queued", func() bool {
		return len(m.batches()) == 1 && b.queue.depth(bulk)+len(m.batches()[0]) == 13
	})
	go func() { done <- embedAll(t, b, interactive, "query") }()
	await(t, "the query in the queue", func() bool { return b.queue.depth(interactive) == 1 })
	close(m.gate)
	for range 2 {
		if failed := <-done; len(failed) > 0 {
			t.Error(failed)
		}
	}
	if calls := m.batches(); !slices.Equal(calls[1], []string{"query"}) {
		t.Errorf("second batch %v, want the query, ahead of everything queued before it", calls[1])
	}
}

func TestOutOfMemoryHalvesTheBatch(t *testing.T) {
	m := &fakeModel{most: 3, gate: make(chan struct{})}
	b := newBatcher(t, m, limits{videos: 64, positions: 1 << 20})
	done := make(chan map[string]error)
	go func() { done <- embedAll(t, b, bulk, ids(17)...) }()
	await(t, "all queued or at the model", func() bool {
		calls := m.batches()
		return len(calls) == 1 && len(calls[0])+b.queue.depth(bulk) == 17
	})
	close(m.gate)
	if failed := <-done; len(failed) > 0 {
		t.Errorf("failed: %v, want every video embedded in smaller batches", failed)
	}
}

func TestPoisonFailsAlone(t *testing.T) {
	m := &fakeModel{poison: "v05"}
	b := newBatcher(t, m, limits{videos: 64, positions: 1 << 20})
	failed := embedAll(t, b, bulk, ids(16)...)
	if len(failed) != 1 || failed["v05"] == nil {
		t.Fatalf("failed: %v, want v05 alone", failed)
	}
	if kind := errs.KindOf(failed["v05"]); kind != errs.Internal {
		t.Errorf("kind %s, want internal: tried again a few times, then a dead letter", kind)
	}
	if err := b.health.check(t.Context()); err != nil {
		t.Errorf("readiness after a poisoned video: %v, want ready: the canary lives", err)
	}
}

func TestBrokenDeviceBlamesNoVideo(t *testing.T) {
	m := &fakeModel{broken: true}
	b := newBatcher(t, m, limits{videos: 64, positions: 1 << 20})
	for id, err := range embedAll(t, b, bulk, ids(5)...) {
		if errs.KindOf(err) != errs.Unavailable {
			t.Errorf("%s: %v of kind %s, want unavailable: back to the stream", id, err, errs.KindOf(err))
		}
	}
	if err := b.health.check(t.Context()); err == nil || !strings.Contains(err.Error(), "device lost") {
		t.Errorf("readiness says %v, want the device's own error", err)
	}
	m.set(func() { m.broken = false })
	if failed := embedAll(t, b, bulk, "later"); len(failed) > 0 {
		t.Error(failed)
	}
	if err := b.health.check(t.Context()); err != nil {
		t.Errorf("readiness after a success: %v, want ready", err)
	}
}

func TestDeadlineLeavesTheQueue(t *testing.T) {
	m := &fakeModel{gate: make(chan struct{})}
	b := newBatcher(t, m, limits{videos: 1, positions: 1 << 20})
	done := make(chan map[string]error)
	go func() { done <- embedAll(t, b, bulk, "running") }()
	await(t, "a batch at the model", func() bool { return len(m.batches()) == 1 })

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := b.embed(ctx, interactive, row("late"))
	if !errors.Is(err, context.DeadlineExceeded) || errs.KindOf(err) != errs.Unavailable {
		t.Errorf("embed past its deadline: %v, want DeadlineExceeded as unavailable", err)
	}
	if n := b.queue.depth(interactive); n != 0 {
		t.Errorf("%d items still queued, want none", n)
	}
	close(m.gate)
	<-done
	for _, call := range m.batches() {
		if slices.Contains(call, "late") {
			t.Error("the model was given a video that nobody waits for")
		}
	}
}
