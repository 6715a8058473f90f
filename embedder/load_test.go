package embedder

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	u.running.Go(func() { u.feed(ctx) })
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

// feed publishes the videos again and again, in order, as edits.
func (u *underLoad) feed(ctx context.Context) {
	publisher, err := event.NewPublisher(u.bus.Conn, event.PublisherConfig{})
	if err != nil {
		u.t.Error(err)
		return
	}
	for next := 0; ctx.Err() == nil; {
		info, err := u.bus.ConsumerInfo(ctx, event.StreamVideos, "embedder-"+u.fingerprint)
		if err == nil && info.Pending >= backlog {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		for range backlog / 4 {
			if _, err := publisher.PublishAsync(ctx, event.FromVideo(u.videos[next%len(u.videos)])); err != nil && ctx.Err() == nil {
				u.t.Error(err)
				return
			}
			next++
		}
		if err := publisher.Flush(ctx); err != nil && ctx.Err() == nil {
			u.t.Error(err)
			return
		}
	}
}

// query is one request's way, as its caller sees it.
type query struct {
	id         string
	begin, end time.Time
}

// ask sends the i-th query and waits for its answer.
func (u *underLoad) ask(i int) query {
	e := event.FromVideo(u.videos[i%len(u.videos)])
	e.Id = "query-" + strconv.Itoa(i)
	q := query{id: e.Id, begin: time.Now()}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := u.bus.RequestEmbed(ctx, u.fingerprint, &event.EmbedRequest{Videos: []*event.VideoEvent{e}})
	if err == nil {
		err = event.Fault(reply.GetResults()[0].GetErrorKind(), "", reply.GetResults()[0].GetError())
	}
	if err != nil {
		u.t.Errorf("query: %v", err)
	}
	q.end = time.Now()
	return q
}

// timedModel notes when each batch ran, and what it was of.
type timedModel struct {
	Model
	mu    sync.Mutex
	calls []timedCall
}

type timedCall struct {
	begin, end time.Time
	ids        []string
}

func (c timedCall) seconds() float64 { return c.end.Sub(c.begin).Seconds() }

// interactive says whether the batch was of queries.
func (c timedCall) interactive() bool { return strings.HasPrefix(c.ids[0], "query-") }

func (m *timedModel) Embed(ctx context.Context, b *video.Batch, next func() *video.Batch) (model.Halves, error) {
	call := timedCall{begin: time.Now(), ids: slices.Clone(b.IDs)}
	h, err := m.Model.Embed(ctx, b, next)
	call.end = time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, call)
	return h, err
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
