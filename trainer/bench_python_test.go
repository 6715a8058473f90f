package trainer

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"

	"videosim/shared/model"
	"videosim/shared/torch"
)

// onBench runs f on the engine and ends the benchmark on an error.
func onBench(b *testing.B, engine *torch.Engine, f func(s *torch.Scope)) {
	if err := engine.Do(context.Background(), func(s *torch.Scope) error { f(s); return nil }); err != nil {
		b.Fatal(err)
	}
}

// pythonBench is a running testdata/reference/bench_step.py.
type pythonBench struct {
	b   *testing.B
	in  *json.Encoder
	out *bufio.Scanner
}

func startPython(b *testing.B) *pythonBench {
	if _, err := os.Stat(python); err != nil {
		b.Fatalf("%v: deploy/setup.sh python makes it", err)
	}
	cmd := exec.Command(python, "testdata/reference/bench_step.py")
	cmd.Stderr = os.Stderr
	// As in our engine, threads that wait do not spin: beside other work on the
	// machine that would cost PyTorch time which is not its own.
	cmd.Env = append(os.Environ(), "OMP_WAIT_POLICY=PASSIVE")
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
		cmd.Wait()
	})
	return &pythonBench{b: b, in: json.NewEncoder(io.Writer(in)), out: bufio.NewScanner(out)}
}

type pythonAnswer struct {
	Loss float64
	benchTime
}

// benchTime is how long a step took: on the clock, and on all cores together,
// which other work on the machine changes less.
type benchTime struct{ Seconds, CPU float64 }

func (t *benchTime) add(more benchTime) {
	t.Seconds += more.Seconds
	t.CPU += more.CPU
}

func (p *pythonBench) ask(request map[string]any) (a pythonAnswer) {
	if err := p.in.Encode(request); err != nil {
		p.b.Fatal(err)
	}
	if !p.out.Scan() {
		p.b.Fatalf("python ended without an answer to %v", request)
	}
	if err := json.Unmarshal(p.out.Bytes(), &a); err != nil {
		p.b.Fatalf("python answered %q: %v", p.out.Text(), err)
	}
	return a
}

func (p *pythonBench) load(stage, weights string, cfg model.Config, threads int) {
	p.ask(map[string]any{"load": map[string]any{"stage": stage, "weights": weights, "config": cfg, "threads": threads}})
}

func (p *pythonBench) loss(batch string) float64 {
	return p.ask(map[string]any{"loss": batch}).Loss
}

func (p *pythonBench) step(batch string, dtype torch.DType) benchTime {
	return p.ask(map[string]any{"step": batch, "dtype": dtype.String()}).benchTime
}
