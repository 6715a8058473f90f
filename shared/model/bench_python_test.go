package model

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/nn"
	"videosim/shared/text"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// python is the interpreter that `deploy/setup.sh python` installs.
var python = filepath.Join("..", "..", ".deps", "python", "bin", "python")

const (
	pythonBatch  = 8  // videos in a batch of the published system
	serverBatch  = 16 // half the embedder's default: more turns in the time
	threads      = 2
	benchSeconds = 240 // no round begins later
	benchRounds  = 4
)

// BenchmarkAgainstPython embeds videos of real lengths at full size, in turns
// with testdata/reference.py on the same cores, and prints how the two compare.
// A round is one batch of serverBatch videos here and the same videos there.
//
// `make bench-embed` runs it, with a comparison in bf16 at the end.
func BenchmarkAgainstPython(b *testing.B) {
	if _, err := os.Stat(python); err != nil {
		b.Fatalf("%v: deploy/setup.sh python makes it", err)
	}
	cfg := preset(b, "base")
	dir := benchBundle(b, cfg)
	p := startPython(b)
	p.ask("load", []any{filepath.Join(dir, "late.safetensors"), filepath.Join(dir, "early.safetensors"), cfg, threads})
	ours := openServed(b, dir, "fp32")
	defer ours.close()

	r := &comparison{b: b, cfg: cfg, p: p, ours: ours, dir: b.TempDir()}
	r.videos = realVideos(b, cfg, serverBatch, 1)
	r.agree()
	start := time.Now()
	for b.Loop() {
		for i := 0; i < benchRounds && time.Since(start).Seconds() < benchSeconds; i++ {
			r.round()
		}
	}
	r.report()
	if os.Getenv("VIDEOSIM_BENCH_BF16") != "" {
		r.bf16()
	}
}

// comparison is a running benchmark.
type comparison struct {
	b      *testing.B
	cfg    Config
	p      *pythonBench
	ours   served
	dir    string
	videos []video.Video

	ratios, cpuRatios, shares, rates, pythonRates []float64
	useful, padded                                float64
}

// agree checks that both sides compute the same embeddings before any is timed,
// and warms both up.
func (c *comparison) agree() {
	few := c.videos[:pythonBatch]
	got, _ := c.ours.embed(c.b, c.collate(few, true))
	a := c.p.embed(c.store(few), "float32")
	worst := worstCosine(got, a.halves())
	if !(worst >= 0.9999) {
		c.b.Fatalf("the two sides differ: cosine %.6f, want 0.9999", worst)
	}
	c.b.Logf("both sides agree: cosine %.7f at the worst of %d videos", worst, len(few))
}

// round times both sides once on the same videos.
func (c *comparison) round() {
	batch := c.collate(c.videos, true)
	c.useful, c.padded = gflop(c.cfg, batch)
	_, ours := c.ours.embed(c.b, batch)
	theirs := usage{}
	for part := range slices.Chunk(c.videos, pythonBatch) {
		a := c.p.embed(c.store(part), "float32")
		theirs.wall += a.Seconds
		theirs.cpu += a.CPU
	}
	peak := c.p.ask("peak", []any{2048, 1536, 3072, "float32"}).GFLOPs
	n := float64(len(c.videos))
	c.ratios = append(c.ratios, theirs.wall/ours.wall)
	c.cpuRatios = append(c.cpuRatios, theirs.cpu/ours.cpu)
	c.shares = append(c.shares, c.useful/ours.wall/peak)
	c.rates = append(c.rates, n/ours.wall)
	c.pythonRates = append(c.pythonRates, n/theirs.wall)
	c.b.Logf("videos/s %.2f, python %.2f; CPU seconds %.1f, python %.1f; %.0f useful GFLOP/s, product %.0f",
		n/ours.wall, n/theirs.wall, ours.cpu, theirs.cpu, c.useful/ours.wall, peak)
}

func (c *comparison) report() {
	n := float64(len(c.videos))
	c.b.ReportMetric(0, "ns/op")
	c.b.ReportMetric(median(c.rates), "videos/s")
	c.b.ReportMetric(median(c.pythonRates), "python-videos/s")
	c.b.ReportMetric(median(c.ratios), "times-python")
	c.b.ReportMetric(median(c.cpuRatios), "times-python-by-CPU")
	c.b.ReportMetric(median(c.rates)*c.useful/n, "useful-GFLOP/s")
	c.b.ReportMetric(median(c.shares), "of-product-peak")
	c.b.ReportMetric(c.useful/n, "useful-GFLOP/video")
	c.b.ReportMetric(c.padded/n, "padded-GFLOP/video")
}

// bf16 compares with the reference in bf16, once and on few videos: a CPU
// without bf16 instructions takes long for it.
func (c *comparison) bf16() {
	few := c.videos[:pythonBatch]
	exact, fp32 := c.ours.embed(c.b, c.collate(few, true))
	ours := openServed(c.b, filepath.Dir(c.ours.weights), "bf16")
	defer ours.close()
	got, bf16 := ours.embed(c.b, c.collate(few, true))
	theirs := c.p.embed(c.store(few), "bfloat16")
	n := float64(len(few))
	c.b.Logf("bf16: videos/s %.2f here (fp32 on the same videos %.2f), python %.2f; cosine to fp32 %.5f at worst",
		n/bf16.wall, n/fp32.wall, n/theirs.Seconds, worstCosine(got, exact))
	c.b.ReportMetric(theirs.Seconds/fp32.wall, "times-python-bf16")
}

func (c *comparison) collate(videos []video.Video, longest bool) *video.Batch {
	batch, err := collator(c.b, c.cfg, longest).Collate(videos)
	if err != nil {
		c.b.Fatal(err)
	}
	return batch
}

// store writes a batch at the full lengths of the config, for Python to read.
func (c *comparison) store(videos []video.Video) string {
	batch := c.collate(videos, false)
	n := int64(len(videos))
	var all []bundle.NamedTensor
	add := func(name, dtype string, data any, shape ...int64) {
		raw, err := binary.Append(nil, binary.LittleEndian, data)
		if err != nil {
			c.b.Fatal(err)
		}
		all = append(all, bundle.NamedTensor{Name: name, DType: dtype, Shape: shape, Data: raw})
	}
	for name, t := range map[string]video.Tokens{"late.": batch.Late, "early.": batch.Early} {
		add(name+"tokens", "I64", t.IDs, n, int64(t.Len))
		add(name+"types", "I64", t.Types, n, int64(t.Len))
		add(name+"mask", "I64", t.Mask, n, int64(t.Len))
	}
	add("frame_mask", "I64", batch.FrameMask(0), n, int64(batch.FrameLen))
	add("frames", "F16", batch.Half, n, int64(batch.FrameLen), int64(batch.FrameDim))
	path := filepath.Join(c.dir, "batch")
	if err := bundle.WriteSafetensors(path, all); err != nil {
		c.b.Fatal(err)
	}
	return path
}

// benchBundle writes new full-size models: 1.9 GB.
func benchBundle(b *testing.B, cfg Config) string {
	config, err := json.Marshal(cfg)
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(b.TempDir(), "bundle")
	e, err := torch.Start(torch.EngineConfig{Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	err = e.Do(context.Background(), func(s *torch.Scope) error {
		late, early := NewLate(cfg, nn.NewParams(s, nn.Options{})), NewEarlyFinetuned(cfg, nn.NewParams(s, nn.Options{}))
		_, err := bundle.Write(dir, bundle.Contents{
			Config: config, Vocab: text.ChineseVocab(), Late: late.Params().Export(), Early: early.Params().Export(),
			Manifest: bundle.Manifest{EmbeddingDim: cfg.Embedding, FrameDim: cfg.Video.FrameDim, Preset: "base"},
		})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return dir
}

// served is a bundle opened as the embedder opens it.
type served struct {
	engine  *torch.Engine
	model   *Ensemble
	weights string
}

func openServed(b *testing.B, dir, precision string) served {
	e, err := torch.Start(torch.EngineConfig{Threads: threads, Precision: precision})
	if err != nil {
		b.Fatal(err)
	}
	opened, err := bundle.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	m, err := Open(e, opened)
	if err != nil {
		b.Fatal(err)
	}
	return served{engine: e, model: m, weights: filepath.Join(dir, "late.safetensors")}
}

func (s served) close() {
	s.model.Close()
	s.engine.Close()
}

// usage is what a run cost, in seconds.
type usage struct{ wall, cpu float64 }

func (s served) embed(b *testing.B, batch *video.Batch) (h Halves, cost usage) {
	start, cpu := time.Now(), cpuSeconds(b)
	err := s.engine.Do(context.Background(), func(scope *torch.Scope) (err error) {
		h, err = s.model.Embed(scope, batch)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return h, usage{time.Since(start).Seconds(), cpuSeconds(b) - cpu}
}

// cpuSeconds is what this process has used so far, by all its threads.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// pythonBench is a running testdata/reference.py.
type pythonBench struct {
	b   *testing.B
	in  *json.Encoder
	out *bufio.Reader
}

type pythonAnswer struct {
	Seconds, CPU, GFLOPs float64
	Late, Early          [][]float32
}

func (a pythonAnswer) halves() Halves { return Halves{Late: a.Late, Early: a.Early} }

func startPython(b *testing.B) *pythonBench {
	cmd := exec.Command(python, filepath.Join("testdata", "reference.py"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	return &pythonBench{b: b, in: json.NewEncoder(in), out: bufio.NewReader(out)}
}

func (p *pythonBench) ask(name string, arguments any) (a pythonAnswer) {
	if err := p.in.Encode(map[string]any{name: arguments}); err != nil {
		p.b.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		p.b.Fatalf("python ended without an answer to %s: %v", name, err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		p.b.Fatal(fmt.Errorf("python's answer to %s: %w", name, err))
	}
	return a
}

func (p *pythonBench) embed(batch, dtype string) pythonAnswer {
	return p.ask("embed", []any{batch, dtype})
}

// worstCosine compares the sums of both halves, video by video.
func worstCosine(a, b Halves) float64 {
	worst := 1.0
	for i := range a.Late {
		worst = min(worst, cosine(sum(a.Late[i], a.Early[i]), sum(b.Late[i], b.Early[i])))
	}
	return worst
}

func sum(a, b []float32) []float32 {
	out := make([]float32, len(a))
	for i := range out {
		out[i] = a[i] + b[i]
	}
	return out
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
