package embedder

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"videosim/shared/bus"
	"videosim/shared/event"
	"videosim/shared/model"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/testkit/tinybundle"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// pathVideos is how many videos one measurement of the path takes: 200 MB at
// the challenge's lengths and full size.
const pathVideos = 4000

// BenchmarkPath measures how many videos a second the path to the model and
// behind it carries (publish, pull, decode, collate, merge, store, acknowledge),
// with a model that answers at once, over the NATS server of this process; and
// how many the real model eats on the same cores, with frames of the same width.
//
//	publish: acknowledged publishes alone
//	behind:  the embedder alone, with a full stream
//	all:     both at once, from the first publish to the last acknowledgement
//
// BENCH_PRECISION says in which precision the real models run.
func BenchmarkPath(b *testing.B) {
	for _, preset := range []string{"tiny", "base"} {
		m := measureModel(b, preset)
		shape := m.collator.Config()
		videos := testkit.RealVideos(b, pathVideos, shape.FrameDim, shape.Frames, 1)
		for _, always := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/sync-always=%t", preset, always), func(b *testing.B) {
				for b.Loop() {
					benchPath(b, m, videos, always)
				}
			})
		}
	}
}

func benchPath(b *testing.B, m *realModel, videos []video.Video, syncAlways bool) {
	p := startPath(b, syncAlways, m.collator)
	publish := rate(len(videos), func() { testkit.Publish(b, p.bus, videos) })
	var stop func()
	behind := rate(len(videos), func() { stop = p.serve(); p.settled(len(videos)) })
	all := rate(len(videos), func() { testkit.Publish(b, p.bus, videos); p.settled(2 * len(videos)) })
	stop()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(publish, "publish-videos/s")
	b.ReportMetric(behind, "behind-videos/s")
	b.ReportMetric(all, "all-videos/s")
	b.ReportMetric(m.rate, "model-videos/s")
	b.ReportMetric(behind/m.rate, "behind/model")
	b.ReportMetric(all/m.rate, "all/model")
}

func rate(videos int, work func()) float64 {
	start := time.Now()
	work()
	return float64(videos) / time.Since(start).Seconds()
}

// realModel is what a preset's models eat when nothing else runs.
type realModel struct {
	collator *video.Collator
	rate     float64 // videos/s
}

// measureModel feeds collated batches of the default size for four seconds.
func measureModel(b *testing.B, preset string) *realModel {
	b.Helper()
	cfg := defaultConfig(b, filepath.Join(b.TempDir(), "bundle"))
	cfg.Precision = environment("BENCH_PRECISION", "auto")
	tinybundle.WritePreset(b, cfg.Bundle, preset, 1)
	m, collator := openBundle(b, cfg)
	defer m.close()
	shape := collator.Config()
	videos := testkit.RealVideos(b, 4*cfg.BatchVideos, shape.FrameDim, shape.Frames, 2)
	var batches []*video.Batch
	for from := 0; from < len(videos); from += cfg.BatchVideos {
		batch, err := collator.Collate(videos[from : from+cfg.BatchVideos])
		if err != nil {
			b.Fatal(err)
		}
		batches = append(batches, batch)
	}
	embed := func(i int) {
		next := func() *video.Batch { return batches[(i+1)%len(batches)] }
		if _, err := m.Embed(b.Context(), batches[i%len(batches)], model.Meanwhile{Next: next}); err != nil {
			b.Fatal(err)
		}
	}
	embed(0) // what is set up on first use
	start, n := time.Now(), 0
	for n < len(batches) || time.Since(start) < 4*time.Second {
		embed(n)
		n++
	}
	return &realModel{collator: collator, rate: float64(n*cfg.BatchVideos) / time.Since(start).Seconds()}
}

// pathBench is a NATS server, a connection to it over its socket, and what an
// embedder needs besides a model.
type pathBench struct {
	b        *testing.B
	bus      *bus.Bus
	collator *video.Collator
}

func startPath(b *testing.B, syncAlways bool, collator *video.Collator) *pathBench {
	b.Helper()
	server, err := bus.StartServer(bus.ServerConfig{StoreDir: b.TempDir(), Port: -1, SyncAlways: syncAlways, SyncInterval: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Shutdown)
	return &pathBench{b: b, bus: testkit.Connect(b, server), collator: collator}
}

// serve runs the embedder's service, with its default settings, on a model that
// takes no time.
func (p *pathBench) serve() (stop func()) {
	ctx, cancel := context.WithCancel(p.b.Context())
	done := make(chan error, 1)
	cfg, env := defaultConfig(p.b, "unused"), service.NewTestEnv(p.b)
	go func() { done <- serve(ctx, cfg, Env{Env: env, Bus: p.bus}, testFingerprint, instant{}, p.collator) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			p.b.Error(err)
		}
	}
}

// settled waits until the first n events of the stream are acknowledged.
func (p *pathBench) settled(n int) {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		info, err := p.bus.ConsumerInfo(p.b.Context(), event.StreamVideos, "embedder-"+testFingerprint)
		if err == nil && info.AckFloor >= uint64(n) {
			return
		} else if time.Now().After(deadline) {
			p.b.Fatalf("not settled after two minutes: %+v, %v", info, err)
		}
	}
}

// instant is a Model that answers at once, with the same unit vectors.
type instant struct{}

func (instant) Device() torch.Device { return torch.CPU }

func (instant) Embed(_ context.Context, b *video.Batch, _ model.Meanwhile) (model.Halves, error) {
	unit := make([]float32, 256)
	unit[0] = 1
	rows := make([][]float32, b.Len())
	for i := range rows {
		rows[i] = unit
	}
	return model.Halves{Late: rows, Early: rows}, nil
}
