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

	"github.com/prometheus/client_golang/prometheus"

	"videosim/shared/bundle"
	"videosim/shared/testkit/tinybundle"
	"videosim/shared/video"
)

// BenchmarkQueryUnderLoad sends one query after the other while the stream's
// lane is full, through the real tiny models. It prints the 99th percentile
// beside that of the stream's batches (on a busy machine both are long), and how the process grew between
// the first tenth and the end.
//
//	go test -run '^$' -bench QueryUnderLoad -benchtime 180s ./embedder
func BenchmarkQueryUnderLoad(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "bundle")
	tinybundle.Write(b, dir)
	opened, err := bundle.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	m, err := openModel(Config{Bundle: dir, Settings: Settings{Device: "cpu", Precision: "fp32", Threads: 2}}, opened)
	if err != nil {
		b.Fatal(err)
	}
	defer m.close()
	collator, err := openCollator(opened)
	if err != nil {
		b.Fatal(err)
	}
	rows := make([]*video.Batch, 64)
	for i, v := range corpus(len(rows)) {
		if rows[i], err = collator.Collate([]video.Video{v}); err != nil {
			b.Fatal(err)
		}
	}
	bounds := limits{videos: 32, positions: 4096}
	batcher := &batcher{
		model: m, queue: newQueue(bounds), metrics: newMetrics(prometheus.NewRegistry()),
		health: &health{model: m, canary: rows[0], serving: true}, pace: pace{target: time.Second},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running, feeders sync.WaitGroup
	running.Go(func() { batcher.run(context.Background()) })
	var mu sync.Mutex
	var bulkForward []float64 // seconds, one a video
	for i := range 96 {
		feeders.Go(func() {
			for ctx.Err() == nil {
				if r, err := batcher.embed(ctx, bulk, rows[i%len(rows)]); err == nil {
					mu.Lock()
					bulkForward = append(bulkForward, r.forward.Seconds())
					mu.Unlock()
				}
			}
		})
	}
	var latency []float64
	early := 0.0 // RSS after the first tenth
	start := time.Now()
	for b.Loop() {
		begin := time.Now()
		if _, err := batcher.embed(ctx, interactive, rows[len(latency)%len(rows)]); err != nil {
			b.Fatal(err)
		}
		latency = append(latency, time.Since(begin).Seconds())
		if early == 0 && len(latency) >= 200 {
			early = residentMiB(b)
		}
	}
	took, late := time.Since(start), residentMiB(b)
	cancel()
	feeders.Wait()
	batcher.queue.close(bulk)
	batcher.queue.close(interactive)
	running.Wait()
	forward := quantile(bulkForward, 0.5)
	b.ReportMetric(quantile(latency, 0.5)*1e3, "p50-ms")
	b.ReportMetric(quantile(latency, 0.99)*1e3, "p99-ms")
	b.ReportMetric(forward*1e3, "stream-batch-ms")
	b.ReportMetric(quantile(bulkForward, 0.99)*1e3, "stream-batch-p99-ms")
	b.ReportMetric(quantile(latency, 0.99)/quantile(bulkForward, 0.99), "p99/p99")
	b.ReportMetric(float64(len(bulkForward))/took.Seconds(), "stream-videos/s")
	if early > 0 {
		b.ReportMetric(early, "MiB-after-200-queries")
		b.ReportMetric(late, "MiB-at-the-end")
	}
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// residentMiB is the memory of this process that lies in RAM.
func residentMiB(b *testing.B) float64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(data))[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * float64(os.Getpagesize()) / (1 << 20)
}
