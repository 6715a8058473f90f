package trainer

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/torch"
)

var (
	benchVideos = flag.Int("bench-videos", 8, "videos of a batch in BenchmarkTrainingStep; half as many pairs")
	benchOnly   = flag.String("bench-stage", "", "the only stage that BenchmarkTrainingStep times: text, video, cross, late or early; empty means all")
	benchRounds = flag.Int("bench-rounds", 3, "batches that BenchmarkTrainingStep times")
)

// BenchmarkTrainingStep (make bench-train) times one step of each stage at full
// size, forward, backward and optimiser with dropout on, beside the same
// network in plain PyTorch (testdata/reference), from the same weights on the
// same batches, turn by turn in one run. PyTorch runs twice: with every batch
// padded to 64 tokens and 32 frames, as the published system does, and with
// batches padded as the trainer pads them; a ratio below 1 means that ours is
// faster. CPU ratios count the seconds of all cores, which other work on the
// machine disturbs less. Before anything is timed, the
// losses without dropout must agree. Where the CPU has no bfloat16, its row is
// of a few tokens and says little.
func BenchmarkTrainingStep(b *testing.B) {
	for b.Loop() {
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		defer table.Flush()
		fmt.Fprintf(table, "\nstage\ttype\tvideos\tours s\tpadded s\tours padded s\tratio\tratio\tCPU ratio\tCPU ratio\t\n")
		engine := startBench(b)
		py := startPython(b)
		for _, stage := range benchStages {
			if strings.Contains(stage.name, *benchOnly) {
				benchStage(b, engine, py, stage, table)
			}
		}
	}
}

// benchStage fills the rows of one stage: one a precision.
func benchStage(b *testing.B, engine *torch.Engine, py *pythonBench, stage benchStageKind, table *tabwriter.Writer) {
	net := openBenchNet(b, engine, stage)
	defer net.close()
	dir := b.TempDir()
	weights := filepath.Join(dir, "weights.safetensors")
	net.export(weights)
	py.load(stage.name, weights, net.cfg, engine.Threads())
	if err := os.Remove(weights); err != nil {
		b.Fatal(err)
	}
	random := newLengths(b, 1)
	batches := make([]benchBatch, *benchRounds)
	for i := range batches {
		batches[i] = random.batch(b, stage, net.cfg, *benchVideos, filepath.Join(dir, fmt.Sprint(i)))
	}
	net.agree(py, batches[0])
	net.row(table, py, batches, torch.Float32, "fp32")

	if fastBFloat16(b, engine) {
		net.row(table, py, batches, torch.BFloat16, "bf16")
	} else {
		net.slowRow(table, py, random.small(b, stage, net.cfg, filepath.Join(dir, "small")))
	}
	table.Flush()
}

// row times all batches in one precision, all three ways by turns.
func (n *benchNet) row(table *tabwriter.Writer, py *pythonBench, batches []benchBatch, dtype torch.DType, label string) {
	n.step(batches[0], dtype) // the first steps make the moments
	py.step(batches[0].short, dtype)
	var ours, padded, short benchTime
	for _, batch := range batches {
		ours.add(n.step(batch, dtype))
		padded.add(py.step(batch.padded, dtype))
		short.add(py.step(batch.short, dtype))
	}
	rounds := float64(len(batches))
	fmt.Fprintf(table, "%s\t%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", n.stage.name, label, batches[0].videos,
		ours.Seconds/rounds, padded.Seconds/rounds, short.Seconds/rounds,
		ours.Seconds/padded.Seconds, ours.Seconds/short.Seconds, ours.CPU/padded.CPU, ours.CPU/short.CPU)
}

// slowRow times one step on a few tokens, after row has warmed everything.
func (n *benchNet) slowRow(table *tabwriter.Writer, py *pythonBench, batch benchBatch) {
	ours, theirs := n.step(batch, torch.BFloat16), py.step(batch.short, torch.BFloat16)
	fmt.Fprintf(table, "%s\tbf16 emulated\t%d tiny\t%.2f\t-\t%.2f\t-\t%.2f\t-\t%.2f\t\n", n.stage.name, batch.videos,
		ours.Seconds, theirs.Seconds, ours.Seconds/theirs.Seconds, ours.CPU/theirs.CPU)
}

// benchNet is one stage's network with its optimiser.
type benchNet struct {
	b      *testing.B
	engine *torch.Engine
	stage  benchStageKind
	cfg    model.Config
	scope  *torch.Scope
	net    stageNet
	opt    *BertAdam
}

// stageNet is what the five stages have in common: their loss in terms of the
// batch's tensors.
type stageNet struct {
	params    *nn.Params
	trainable func(name string) bool
	forward   func(s *torch.Scope, in *model.Inputs) torch.Tensor // logits or embeddings
}

// benchStageKind is a stage and how its network is made.
type benchStageKind struct {
	name  string
	pairs bool
	build func(model.Config, *nn.Params) stageNet
}

func benchTagStage[N tagNet](name string, build func(model.Config, *nn.Params) N) benchStageKind {
	return benchStageKind{name: name, build: func(cfg model.Config, p *nn.Params) stageNet {
		m := build(cfg, p)
		return stageNet{params: p, trainable: func(string) bool { return true },
			forward: func(s *torch.Scope, in *model.Inputs) torch.Tensor { return m.Logits(s, m.Forward(s, in)) }}
	}}
}

var benchStages = []benchStageKind{
	benchTagStage("text", model.NewTextNet),
	benchTagStage("video", model.NewVideoNet),
	benchTagStage("cross", model.NewEarly),
	{name: "late", pairs: true, build: func(cfg model.Config, p *nn.Params) stageNet {
		m := model.NewLate(cfg, p)
		return stageNet{p, m.Trainable, func(s *torch.Scope, in *model.Inputs) torch.Tensor { return m.Forward(s, in).Embedding }}
	}},
	{name: "early", pairs: true, build: func(cfg model.Config, p *nn.Params) stageNet {
		m := model.NewEarlyFinetuned(cfg, p)
		return stageNet{p, m.Trainable, func(s *torch.Scope, in *model.Inputs) torch.Tensor { return m.Forward(s, in).Embedding }}
	}},
}

func startBench(b *testing.B) *torch.Engine {
	engine, err := torch.Start(torch.EngineConfig{Device: "cpu", Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(engine.Close)
	return engine
}

func openBenchNet(b *testing.B, engine *torch.Engine, stage benchStageKind) *benchNet {
	cfg, err := model.Preset("base")
	if err != nil {
		b.Fatal(err)
	}
	n := &benchNet{b: b, engine: engine, stage: stage, cfg: cfg, scope: torch.NewScope()}
	n.do(func(*torch.Scope) {
		n.net = stage.build(cfg, nn.NewParams(n.scope, nn.Options{}))
		n.net.params.SetTrainable(n.net.trainable)
		n.opt = NewBertAdam(n.scope, Schedule{Peak: 5e-5, Warmup: 0.05, Total: 1000})
		for _, p := range n.net.params.All() {
			if p.Tensor.RequiresGrad() {
				n.opt.Add(p.Name, p.Tensor, Decays(p.Name))
			}
		}
	})
	return n
}

func (n *benchNet) close() { n.do(func(*torch.Scope) { n.scope.Close() }) }

func (n *benchNet) export(path string) {
	n.do(func(*torch.Scope) {
		if err := bundle.WriteSafetensors(path, n.net.params.Export()); err != nil {
			n.b.Fatal(err)
		}
	})
}

// agree checks that both programs compute the same losses from a batch,
// without dropout, whichever way it is padded.
func (n *benchNet) agree(py *pythonBench, batch benchBatch) {
	var ours float64
	n.do(func(s *torch.Scope) {
		n.net.params.SetTraining(false)
		torch.NoGrad(func() { ours = n.loss(s, batch.tensors(n.b, s), torch.Float32).Item() })
	})
	for _, file := range []string{batch.padded, batch.short} {
		if theirs := py.loss(file); !(math.Abs(ours-theirs) <= 1e-4*math.Abs(theirs)) {
			n.b.Fatalf("%s: loss %v, PyTorch's %v on %s", n.stage.name, ours, theirs, filepath.Base(file))
		}
	}
}

// step takes one training step and returns its time.
func (n *benchNet) step(batch benchBatch, dtype torch.DType) (took benchTime) {
	n.do(func(s *torch.Scope) {
		n.net.params.SetTraining(true)
		tensors := batch.tensors(n.b, s)
		start, cpu := time.Now(), cpuSeconds()
		n.loss(s, tensors, dtype).Backward()
		n.opt.Step(s)
		took = benchTime{Seconds: time.Since(start).Seconds(), CPU: cpuSeconds() - cpu}
	})
	return took
}

// cpuSeconds is what this process has used so far, of all cores together.
func cpuSeconds() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return math.NaN()
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}

// loss is that of one batch, padded as the trainer pads it.
func (n *benchNet) loss(s *torch.Scope, tensors benchTensors, dtype torch.DType) torch.Tensor {
	var out []torch.Tensor
	torch.Autocast(torch.CPU, dtype, func() {
		for _, in := range tensors.inputs {
			out = append(out, n.net.forward(s, in))
		}
	})
	if n.stage.pairs {
		return PairLoss(s, out[0], out[1], tensors.labels).Total
	}
	return TagLoss(s, torch.Sigmoid(s, out[0]), tensors.tags)
}

func (n *benchNet) do(f func(s *torch.Scope)) { onBench(n.b, n.engine, f) }

// fastBFloat16 reports whether this machine multiplies in bfloat16 faster than
// in float32. Where it has no such instructions it is fifty times slower, and
// a full batch would take half an hour.
func fastBFloat16(b *testing.B, engine *torch.Engine) (fast bool) {
	product := func(s *torch.Scope, dtype torch.DType) time.Duration {
		a := torch.Full(s, 1, dtype, torch.CPU, 256, 768)
		var times []time.Duration
		for range 3 {
			start := time.Now()
			torch.MatMul(s, a, torch.Transpose(s, a, 0, 1))
			times = append(times, time.Since(start))
		}
		return slices.Min(times)
	}
	onBench(b, engine, func(s *torch.Scope) { fast = product(s, torch.BFloat16) < product(s, torch.Float32) })
	return fast
}
