package embedder

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkQueryUnderLoad sends queries, each client one after the other, to the
// whole service while its stream is full, and compares their latency with the time
// of a batch: when batches of the stream stand aside for queries, and when they run
// whole, so that a query waits for all of one.
//
//	BENCH_PRESET=base go test -run '^$' -bench QueryUnderLoad -benchtime 30s ./embedder
func BenchmarkQueryUnderLoad(b *testing.B) {
	u := startUnderLoad(b)
	defer u.close()
	for _, whole := range []bool{false, true} {
		for _, clients := range []int{1, 4} {
			b.Run(fmt.Sprintf("aside=%t/clients=%d", !whole, clients), func(b *testing.B) {
				u.model.whole.Store(whole)
				u.model.take()
				start := time.Now()
				latency := make([][]float64, clients)
				var asking sync.WaitGroup
				more := oneByOne(b.Loop)
				for c := range clients {
					asking.Go(func() {
						for i := c; more(); i += clients {
							latency[c] = append(latency[c], u.ask(i))
						}
					})
				}
				asking.Wait()
				reportLatency(b, slices.Concat(latency...), u.model.take(), time.Since(start))
			})
		}
	}
}

// oneByOne lets several goroutines ask f, until it says no.
func oneByOne(f func() bool) func() bool {
	var mu sync.Mutex
	over := false
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		over = over || !f()
		return !over
	}
}

func reportLatency(b *testing.B, latency []float64, calls []timedCall, took time.Duration) {
	b.ReportMetric(0, "ns/op")
	var stream, queries []float64
	videos := 0
	for _, c := range calls {
		if c.interactive() {
			queries = append(queries, c.seconds)
		} else {
			stream, videos = append(stream, c.seconds), videos+len(c.ids)
		}
	}
	for _, f := range []struct {
		name   string
		values []float64
	}{{"query", latency}, {"stream-batch", stream}, {"query-batch", queries}} {
		b.ReportMetric(quantile(f.values, 0.5)*1e3, f.name+"-p50-ms")
		b.ReportMetric(quantile(f.values, 0.99)*1e3, f.name+"-p99-ms")
	}
	b.ReportMetric(quantile(latency, 0.99)/quantile(stream, 0.5), "p99/stream-batch-p50")
	b.ReportMetric(quantile(latency, 0.99)/quantile(queries, 0.5), "p99/query-batch-p50")
	b.ReportMetric(float64(videos)/took.Seconds(), "stream-videos/s")
}
