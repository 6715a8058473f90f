package indexer

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"videosim/shared/bus"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/vecdb"
)

// BenchmarkReplay is the start of the all-in-one program: an indexer fills an
// empty exact index from the stream, file storage, embeddings of 256 numbers
// with both halves. BENCH_ROWS is how many (20,000).
func BenchmarkReplay(b *testing.B) {
	rows := 20_000
	if s := os.Getenv("BENCH_ROWS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatalf("BENCH_ROWS: %v", err)
		}
		rows = n
	}
	nats := testkit.Bus(b)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range rows {
		e := bigEmbedding(rng, i)
		data, err := proto.Marshal(e)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := nats.JS.PublishAsync(event.EmbeddingSubject(testFingerprint, e.Id), data); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 || i == rows-1 {
			select {
			case <-nats.JS.PublishAsyncComplete():
			case <-time.After(time.Minute):
				b.Fatal("the server does not take the embeddings")
			}
		}
	}
	cfg := testConfig(vecdb.KindExact)
	cfg.Dim = 256
	cfg.Settings = Settings{BatchEmbeddings: 2000, MaxPending: 8000, KnownSequences: 200000, AckWait: 30 * time.Second, MaxDeliver: 5, WriteTimeout: 30 * time.Second}
	b.ResetTimer()
	began := benchProcessor(b)
	for range b.N {
		replay(b, cfg, nats, rows)
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "embeddings/s")
	b.ReportMetric(float64((benchProcessor(b)-began).Microseconds())/float64(rows*b.N), "cpu-µs/embedding")
}

func replay(b *testing.B, cfg Config, nats *bus.Bus, rows int) {
	index := vecdb.NewExact(cfg.Dim)
	defer index.Close()
	env := service.NewTestEnv(b)
	env.Log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, Env{Env: env, Bus: nats, Index: index}) }()
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		n, err := index.Count(ctx)
		if err != nil || time.Now().After(deadline) {
			b.Fatalf("%d of %d embeddings indexed (%v)", n, rows, err)
		}
		if n == int64(rows) {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func bigEmbedding(rng *rand.Rand, i int) *event.Embedding {
	halves := [3][]float32{}
	for h := range halves {
		halves[h] = make([]float32, 256)
		sum := 0.0
		for j := range halves[h] {
			x := rng.NormFloat64()
			halves[h][j] = float32(x)
			sum += x * x
		}
		for j := range halves[h] {
			halves[h][j] /= float32(math.Sqrt(sum))
		}
	}
	return &event.Embedding{
		Id: fmt.Sprint(7_000_000_000_000_000_000 + i), Fingerprint: testFingerprint, Sequence: uint64(i + 1),
		Embedding: halves[0], Late: halves[1], Early: halves[2],
		Title: "a title of some thirty characters", CategoryId: int64(i % 100), TagIds: []int64{1, 2, 3},
	}
}

func benchProcessor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
