package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/vecdb"
)

// served is a gateway over an exact index of n embeddings of the real size.
func served(b testing.TB, n int) (url string) {
	b.Helper()
	const dim = 256
	index := vecdb.NewExact(dim)
	rng := rand.New(rand.NewPCG(1, 1))
	records := make([]vecdb.Record, 0, n)
	for i := range n {
		v := make([]float32, dim)
		for j := range v {
			v[j] = float32(rng.NormFloat64())
		}
		records = append(records, vecdb.Record{ID: fmt.Sprintf("v%d", i), Embedding: normalised(v), Title: "a title of some length", TagIDs: []int64{1, 2}})
	}
	if err := index.Upsert(b.Context(), records); err != nil {
		b.Fatal(err)
	}
	env := Env{Env: service.NewTestEnv(b), Bus: testkit.Bus(b), Index: index}
	env.Log = slog.New(slog.DiscardHandler)
	g, err := newServer(testConfig(), env, bundle.Manifest{Fingerprint: testModel, EmbeddingDim: dim}, &handProgress{})
	if err != nil {
		b.Fatal(err)
	}
	s := httptest.NewServer(g.routes())
	b.Cleanup(s.Close)
	return s.URL
}

func normalised(v []float32) []float32 {
	var sum float32
	for _, x := range v {
		sum += x * x
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(float64(sum)))
	}
	return v
}

// BenchmarkPairsStream is lines of ids through HTTP: the label file's size of
// catalogue and pairs.
func BenchmarkPairsStream(b *testing.B) {
	const videos, pairs = 63_613, 67_899
	url := served(b, videos)
	rng := rand.New(rand.NewPCG(2, 2))
	var text strings.Builder
	for range pairs {
		fmt.Fprintf(&text, "v%d\tv%d\t0.5\n", rng.IntN(videos), rng.IntN(videos))
	}
	for _, path := range []string{"/v1/similarity", "/v1/evaluations"} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				post(b, url+path, text.String())
			}
			b.ReportMetric(float64(pairs*b.N)/b.Elapsed().Seconds(), "pairs/s")
		})
	}
}

func post(b *testing.B, url, text string) {
	b.Helper()
	res, err := http.Post(url, tsv, strings.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
		b.Fatal(res.Status, err)
	}
}

// BenchmarkSimilarByID is the common query at 8 clients, over 10,000 videos.
func BenchmarkSimilarByID(b *testing.B) {
	url := served(b, 10_000)
	b.SetParallelism(4) // 8 clients on 2 cores
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			res, err := client.Get(fmt.Sprintf("%s/v1/videos/v%d/similar?k=10", url, i%10_000))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 200 {
				b.Error(res.Status)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
}

// BenchmarkDecodeEmbedding is what a query by vector brings.
func BenchmarkDecodeEmbedding(b *testing.B) {
	body := []byte(asJSON(b, map[string]any{"positive": []any{map[string]any{"embedding": vectorOfSize(256)}}, "k": 10}))
	b.ReportAllocs()
	for b.Loop() {
		var req similarRequest
		if err := decodeJSON(body, &req); err != nil || len(req.Positive[0].Embedding) != 256 {
			b.Fatal(err, len(req.Positive))
		}
	}
}

func vectorOfSize(n int) []float32 {
	rng := rand.New(rand.NewPCG(4, 4))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return normalised(v)
}
