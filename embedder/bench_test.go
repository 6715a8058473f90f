package embedder

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// BenchmarkQueryUnderLoad sends queries, each client one after the other, to the
// whole service while its stream is full, and compares their latency with the
// time of a batch. A query that comes just after a batch of the stream has begun
// waits for all of it and then for its own.
//
//	BENCH_PRESET=base go test -run '^$' -bench QueryUnderLoad -benchtime 60s ./embedder
func BenchmarkQueryUnderLoad(b *testing.B) {
	u := startUnderLoad(b)
	defer u.close()
	for _, clients := range []int{1, 4} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			u.model.take()
			start := time.Now()
			queries := make([][]query, clients)
			var asking sync.WaitGroup
			more := oneByOne(b.Loop)
			for c := range clients {
				asking.Go(func() {
					for i := c; more(); i += clients {
						queries[c] = append(queries[c], u.ask(i))
					}
				})
			}
			asking.Wait()
			reportLatency(b, queries, u.model.take(), time.Since(start))
		})
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

func reportLatency(b *testing.B, queries [][]query, calls []timedCall, took time.Duration) {
	b.ReportMetric(0, "ns/op")
	own := make(map[string]int) // which call embedded a query
	var stream, single []float64
	videos := 0
	for i, c := range calls {
		if !c.interactive() {
			stream, videos = append(stream, c.seconds()), videos+len(c.ids)
			continue
		}
		single = append(single, c.seconds())
		for _, id := range c.ids {
			own[id] = i
		}
	}
	var latency, inTwo []float64
	for _, of := range queries {
		for _, q := range of {
			latency = append(latency, q.end.Sub(q.begin).Seconds())
			if i, found := own[q.id]; found && i > 0 {
				inTwo = append(inTwo, q.end.Sub(q.begin).Seconds()/(calls[i-1].seconds()+calls[i].seconds()))
			}
		}
	}
	for _, f := range []struct {
		name   string
		values []float64
	}{{"query", latency}, {"stream-batch", stream}, {"query-batch", single}} {
		b.ReportMetric(quantile(f.values, 0.5)*1e3, f.name+"-p50-ms")
		b.ReportMetric(quantile(f.values, 0.99)*1e3, f.name+"-p99-ms")
	}
	b.ReportMetric(quantile(latency, 0.99)/quantile(stream, 0.5), "p99/stream-batch-p50")
	b.ReportMetric(quantile(inTwo, 0.99), "p99-of-two-forwards")
	b.ReportMetric(float64(videos)/took.Seconds(), "stream-videos/s")
}
