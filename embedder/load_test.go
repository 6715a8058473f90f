package embedder

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/event"
	"videosim/shared/model"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/testkit/tinybundle"
	"videosim/shared/video"
)

// backlog is how many events of the stream wait for the service under load:
// more than it ever takes on.
const backlog = 512

// underLoad is the whole service on real models, with a stream that never runs
// dry and videos as long as the challenge's.
type underLoad struct {
	t           testing.TB
	bus         *bus.Bus
	fingerprint string
	model       *timedModel
	videos      []video.Video
	stop        context.CancelFunc
	running     sync.WaitGroup
}

// startUnderLoad returns when the service is ready and the stream is full. The
// environment's BENCH_PRESET, BENCH_PRECISION and BENCH_TARGET (of batch-target) say
// what it runs.
func startUnderLoad(t testing.TB) *underLoad {
	t.Helper()
	cfg := defaultConfig(t, filepath.Join(t.TempDir(), "bundle"))
	cfg.Precision = environment("BENCH_PRECISION", "auto")
	target, err := time.ParseDuration(environment("BENCH_TARGET", cfg.BatchTarget.String()))
	if err != nil {
		t.Fatal(err)
	}
	cfg.BatchTarget = target
	u := &underLoad{t: t, fingerprint: tinybundle.WritePreset(t, cfg.Bundle, environment("BENCH_PRESET", "tiny"), 1)}
	m, collator := openBundle(t, cfg)
	shape := collator.Config()
	u.videos = testkit.RealVideos(t, 4*backlog, shape.FrameDim, shape.Frames, 1)
	u.bus, u.model = testkit.Bus(t), &timedModel{Model: m}
	ctx, cancel := context.WithCancel(context.Background())
	u.stop = cancel
	env := service.NewTestEnv(t)
	u.running.Go(func() {
		defer m.close()
		if err := serve(ctx, cfg, Env{Env: env, Bus: u.bus}, u.fingerprint, u.model, collator); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	u.running.Go(func() { testkit.Feed(ctx, t, u.bus, u.fingerprint, u.videos, backlog) })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if ok, why := ready(env); ok && u.model.batches() > 8 {
			return u
		} else if time.Now().After(deadline) {
			t.Fatalf("not under load after a minute: %s", why)
		}
	}
}

// openBundle opens the models and the collator of cfg's bundle as Run does.
func openBundle(t testing.TB, cfg Config) (*ensemble, *video.Collator) {
	t.Helper()
	opened, err := bundle.Open(cfg.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	collator, err := openCollator(opened)
	if err != nil {
		t.Fatal(err)
	}
	m, err := openModel(cfg, opened)
	if err != nil {
		t.Fatal(err)
	}
	return m, collator
}

func (u *underLoad) close() {
	u.stop()
	u.running.Wait()
}

// ask sends the i-th query, waits for its answer, and returns how long that took.
func (u *underLoad) ask(i int) (seconds float64) {
	e := event.FromVideo(u.videos[i%len(u.videos)])
	e.Id = "query-" + strconv.Itoa(i)
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := u.bus.RequestEmbed(ctx, u.fingerprint, &event.EmbedRequest{Videos: []*event.VideoEvent{e}})
	if err == nil {
		err = event.Fault(reply.GetResults()[0].GetErrorKind(), "", reply.GetResults()[0].GetError())
	}
	if err != nil {
		u.t.Errorf("query: %v", err)
	}
	return time.Since(start).Seconds()
}

// timedModel notes when each batch ran, and what it was of.
type timedModel struct {
	Model
	whole atomic.Bool // batches of the stream do not stand aside
	mu    sync.Mutex
	calls []timedCall
}

// timedCall is one batch: how long it took, without the time in which it stood
// aside for others.
type timedCall struct {
	seconds float64
	ids     []string
}

// interactive says whether the batch was of queries.
func (c timedCall) interactive() bool { return strings.HasPrefix(c.ids[0], "query-") }

func (m *timedModel) Embed(ctx context.Context, b *video.Batch, while model.Meanwhile) (model.Halves, error) {
	aside, between := time.Duration(0), while.Between
	switch {
	case m.whole.Load():
		while.Between = nil
	case between != nil:
		while.Between = func(done, total int, embed func(*video.Batch) (model.Halves, error)) {
			start := time.Now()
			between(done, total, func(b *video.Batch) (model.Halves, error) {
				start := time.Now()
				h, err := embed(b)
				m.note(b, time.Since(start))
				return h, err
			})
			aside += time.Since(start)
		}
	}
	start := time.Now()
	h, err := m.Model.Embed(ctx, b, while)
	m.note(b, time.Since(start)-aside)
	return h, err
}

func (m *timedModel) note(b *video.Batch, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, timedCall{took.Seconds(), slices.Clone(b.IDs)})
}

func (m *timedModel) batches() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.calls)
}

// take returns the calls noted so far and forgets them.
func (m *timedModel) take() []timedCall {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := m.calls
	m.calls = nil
	return calls
}

// defaultConfig is what an embedder runs with where only the bundle is set.
func defaultConfig(t testing.TB, dir string) (cfg Config) {
	t.Helper()
	parser, err := kong.New(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"--bundle", dir}); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
