package model

import (
	"bufio"
	"cmp"
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
	threads      = 2
	benchSeconds = 240 // no round begins later
	benchRounds  = 6
)

// hardware is what a benchmark runs on.
type hardware struct {
	device      string
	serverBatch int    // videos in one of our batches
	pythonBatch int    // and in one of Python's
	product     [3]int // rows, inputs and outputs of a product that reaches the peak
}

// benchHardware is the CPU, or what BENCH_DEVICE says.
func benchHardware() hardware {
	if device := os.Getenv("BENCH_DEVICE"); device != "" && device != "cpu" {
		return hardware{device: device, serverBatch: 256, pythonBatch: 256, product: [3]int{8192, 8192, 8192}}
	}
	// 8 is the batch of the published system, 16 half the embedder's default: more
	// turns in the time.
	return hardware{device: "cpu", serverBatch: 16, pythonBatch: 8, product: [3]int{2048, 1536, 3072}}
}

// benchPreset is the full size, or what BENCH_PRESET says.
func benchPreset(b *testing.B) Config { return preset(b, cmp.Or(os.Getenv("BENCH_PRESET"), "base")) }

// BenchmarkAgainstPython embeds videos of real lengths at full size, in every
// precision of the device, in turns with testdata/reference.py on the same one,
// and prints how they compare. A round is one batch here and the same videos there.
// On a GPU each side copies its input there and the embeddings back; ours copies that
// of the next round while it computes, as it does when it serves.
//
// `make bench-embed` runs it; BENCH_DEVICE=cuda takes it to a GPU.
func BenchmarkAgainstPython(b *testing.B) {
	if _, err := os.Stat(python); err != nil {
		b.Fatalf("%v: deploy/setup.sh python makes it", err)
	}
	cfg, on := benchPreset(b), benchHardware()
	dir := benchBundle(b, cfg)
	p := startPython(b)
	p.ask("load", []any{filepath.Join(dir, "late.safetensors"), filepath.Join(dir, "early.safetensors"), cfg, threads, on.device})
	r := &comparison{b: b, cfg: cfg, on: on, p: p, dir: b.TempDir(), python: map[string][]float64{}, peaks: map[string][]float64{}}
	for _, precision := range nativePrecisions(on.device) {
		side := &side{served: openServed(b, dir, on.device, precision), precision: precision}
		defer side.close()
		r.sides = append(r.sides, side)
	}
	r.videos = realVideos(b, cfg, on.serverBatch, 1)
	r.agree()
	start := time.Now()
	for b.Loop() {
		for i := 0; i < benchRounds && time.Since(start).Seconds() < benchSeconds; i++ {
			r.round()
		}
	}
	r.report()
}

// nativePrecisions are those of precisions that the device has instructions for.
func nativePrecisions(device string) []string {
	bf16 := false
	if e, err := torch.Start(torch.EngineConfig{Device: device, Precision: "auto"}); err == nil {
		bf16 = e.DType() == torch.BFloat16
		e.Close()
	}
	return slices.DeleteFunc(precisions(device), func(p string) bool { return p == "bf16" && !bf16 })
}

// comparison is a running benchmark.
type comparison struct {
	b      *testing.B
	cfg    Config
	on     hardware
	p      *pythonBench
	sides  []*side
	dir    string
	videos []video.Video

	python, peaks  map[string][]float64 // by dtype: videos/s of Python, GFLOP/s of a product
	useful, padded float64
}

// side is this project in one precision.
type side struct {
	served
	precision string
	rates     []float64 // videos/s, a round each
}

// dtypes are Python's names of the precisions that it can compute in.
var dtypes = map[string]string{"fp32": "float32", "bf16": "bfloat16"}

// agree checks that both sides compute the same embeddings before any is timed,
// and warms all up.
func (c *comparison) agree() {
	few := c.videos[:8]
	want := c.p.embed(c.store(few), "float32").halves()
	for _, s := range c.sides {
		got, _ := s.embed(c.b, c.collate(few, true), nil)
		s.embed(c.b, c.collate(c.videos, true), nil)
		least := map[string]float64{"fp32": 0.99999, "bf16": 0.999, "int8": 0.99}[s.precision]
		worst := worstCosine(got, want)
		if !(worst >= least) {
			c.b.Fatalf("%s differs from Python's fp32: cosine %.6f, want %v", s.precision, worst, least)
		}
		c.b.Logf("%s agrees with Python's fp32: cosine %.6f at the worst of %d videos", s.precision, worst, len(few))
	}
}

// round times every side once on the same videos.
func (c *comparison) round() {
	batch := c.collate(c.videos, true)
	c.useful, c.padded = gflop(c.cfg, batch)
	n := float64(len(c.videos))
	line := ""
	for _, s := range c.sides {
		_, ours := s.embed(c.b, batch, batch)
		s.rates = append(s.rates, n/ours.wall)
		line += fmt.Sprintf("%s %.2f, ", s.precision, n/ours.wall)
		dtype, ok := dtypes[s.precision]
		if !ok {
			continue
		}
		theirs := 0.0
		for part := range slices.Chunk(c.videos, c.on.pythonBatch) {
			theirs += c.p.embed(c.store(part), dtype).Seconds
		}
		shape := c.on.product
		peak := c.p.ask("peak", []any{shape[0], shape[1], shape[2], dtype}).GFLOPs
		c.python[dtype] = append(c.python[dtype], n/theirs)
		c.peaks[dtype] = append(c.peaks[dtype], peak)
		line += fmt.Sprintf("python %.2f, product peak %.0f GFLOP/s; ", n/theirs, peak)
	}
	c.b.Logf("videos/s: %s%.0f useful GFLOP a batch", line, c.useful)
}

// report prints, for each precision, the median rate, the median of the rounds'
// ratios to Python in fp32 and in bf16, and the share of the product's peak that
// the useful arithmetic reaches.
func (c *comparison) report() {
	n := float64(len(c.videos))
	c.b.ReportMetric(0, "ns/op")
	c.b.ReportMetric(c.useful/n, "useful-GFLOP/video")
	c.b.ReportMetric(c.padded/n, "padded-GFLOP/video")
	for precision, dtype := range dtypes {
		if rates := c.python[dtype]; rates != nil {
			c.b.ReportMetric(median(rates), "python-"+precision+"-videos/s")
		}
	}
	for _, s := range c.sides {
		c.b.ReportMetric(median(s.rates), s.precision+"-videos/s")
		for precision, dtype := range dtypes {
			if rates := c.python[dtype]; rates != nil {
				c.b.ReportMetric(median(ratios(s.rates, rates)), s.precision+"/python-"+precision)
			}
		}
		if peaks := c.peaks[dtypes[s.precision]]; peaks != nil {
			c.b.ReportMetric(median(ratios(s.rates, peaks))*c.useful/n, s.precision+"-of-product-peak")
		}
	}
}

// ratios divides round by round: what the machine did to both is left out.
func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

// BenchmarkPrecisions compares the embeddings of 1,000 videos of real lengths,
// full size, in the lower precisions with those in fp32, and how long they took.
func BenchmarkPrecisions(b *testing.B) {
	const videos, batch = 1000, 20
	cfg, device := benchPreset(b), benchHardware().device
	dir := benchBundle(b, cfg)
	var sides []*side
	for _, precision := range nativePrecisions(device) {
		s := &side{served: openServed(b, dir, device, precision), precision: precision}
		defer s.close()
		sides = append(sides, s)
	}
	worst, seconds := make([]float64, len(sides)), make([]float64, len(sides))
	for b.Loop() {
		for i := range sides {
			worst[i] = 1
		}
		for seed := range uint64(videos / batch) {
			input, err := collator(b, cfg, true).Collate(realVideos(b, cfg, batch, seed))
			if err != nil {
				b.Fatal(err)
			}
			var exact Halves
			for i, s := range sides {
				h, cost := s.embed(b, input, nil)
				if i == 0 {
					exact = h
				}
				worst[i] = min(worst[i], worstCosine(h, exact))
				seconds[i] += cost.wall
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, s := range sides {
		b.ReportMetric(worst[i], s.precision+"-worst-cosine")
		b.ReportMetric(seconds[0]/seconds[i], s.precision+"-times-fp32")
		if s.precision == "bf16" && !(worst[i] >= 0.999) {
			b.Errorf("bf16: cosine %.5f to fp32 at the worst of %d videos, want 0.999", worst[i], videos)
		}
	}
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

// benchBundle writes new models; full size is 1.9 GB.
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

func openServed(b *testing.B, dir, device, precision string) served {
	e, err := torch.Start(torch.EngineConfig{Device: device, Threads: threads, Precision: precision})
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

// embed also brings next, if there is one, to a GPU.
func (s served) embed(b *testing.B, batch, next *video.Batch) (h Halves, cost usage) {
	start, cpu := time.Now(), cpuSeconds(b)
	err := s.engine.Do(context.Background(), func(scope *torch.Scope) (err error) {
		h, err = s.model.EmbedMeanwhile(scope, batch, Meanwhile{Next: func() *video.Batch { return next }})
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
