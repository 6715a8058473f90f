package torch

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"videosim/shared/errs"
)

func start(t *testing.T) *Engine {
	t.Helper()
	e, err := Start(EngineConfig{Device: "cpu", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// do runs f on e and fails the test on an error.
func do(t *testing.T, e *Engine, f func(s *Scope) error) {
	t.Helper()
	if err := e.Do(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func near(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %d numbers, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.IsNaN(float64(got[i])) || math.Abs(float64(got[i]-want[i])) > tolerance {
			t.Fatalf("%s[%d] = %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestGradients(t *testing.T) {
	// loss = Σ f(x)·w; every gradient is compared with central differences.
	x := []float32{-1.3, -0.2, 0.4, 0.9, 1.7, 2.2}
	w := []float32{0.3, -1, 2, 0.7, -0.4, 1.1}
	functions := map[string]func(s *Scope, x Tensor) Tensor{
		"sigmoid": Sigmoid,
		"gelu":    GELU,
		"exp":     Exp,
		"softmax": func(s *Scope, x Tensor) Tensor { return Softmax(s, x, -1) },
		"layer norm": func(s *Scope, x Tensor) Tensor {
			return LayerNorm(s, x, Full(s, 1.5, Float32, CPU, 3), Zeros(s, Float32, CPU, 3), 1e-5)
		},
		"normalise":  func(s *Scope, x Tensor) Tensor { return Div(s, x, Norm(s, x, 1, true)) },
		"minimum":    func(s *Scope, x Tensor) Tensor { return Minimum(s, Pow(s, x, 2), Exp(s, x)) },
		"clamp":      func(s *Scope, x Tensor) Tensor { return Clamp(s, x, -0.5, 1) },
		"cat narrow": func(s *Scope, x Tensor) Tensor { return Cat(s, 0, Narrow(s, x, 0, 1, 1), Narrow(s, x, 0, 0, 1)) },
		"attention": func(s *Scope, x Tensor) Tensor {
			q := Reshape(s, x, 1, 1, 2, 3)
			return Reshape(s, Attention(s, q, q, q, Tensor{}, 0), 2, 3)
		},
	}
	e := start(t)
	for name, f := range functions {
		t.Run(name, func(t *testing.T) {
			do(t, e, func(s *Scope) error {
				weights := FromFloat32s(s, w, 2, 3)
				loss := func(s *Scope, x Tensor) Tensor { return SumAll(s, Mul(s, f(s, x), weights)) }
				in := FromFloat32s(s, x, 2, 3)
				in.SetRequiresGrad(true)
				loss(s, in).Backward()
				near(t, "gradient", Grad(s, in).Float32s(), differences(s, x, loss), 2e-2)
				in.ClearGrad()
				if Grad(s, in).Defined() {
					t.Error("a gradient is left after ClearGrad")
				}
				return nil
			})
		})
	}
}

func differences(s *Scope, x []float32, loss func(*Scope, Tensor) Tensor) []float32 {
	const h = 1e-2
	out := make([]float32, len(x))
	at := func(i int, d float32) float64 {
		moved := append([]float32(nil), x...)
		moved[i] += d
		return loss(s, FromFloat32s(s, moved, 2, 3)).Item()
	}
	for i := range x {
		out[i] = float32((at(i, h) - at(i, -h)) / (2 * h))
	}
	return out
}

func TestErrorIsRecovered(t *testing.T) {
	e := start(t)
	before := LiveTensors()
	err := e.Do(context.Background(), func(s *Scope) error {
		MatMul(s, Zeros(s, Float32, CPU, 2, 3), Zeros(s, Float32, CPU, 2, 3))
		return nil
	})
	var failure *Error
	if !errors.As(err, &failure) || failure.Op != "matmul" || failure.Message == "" {
		t.Fatalf("got %v, want a *Error of matmul with libtorch's message", err)
	}
	if errs.KindOf(err) != errs.Internal {
		t.Errorf("kind %v, want internal", errs.KindOf(err))
	}
	if LiveTensors() != before {
		t.Errorf("%d tensors leaked by a failed call", LiveTensors()-before)
	}
	do(t, e, func(s *Scope) error {
		near(t, "after the failure", Add(s, Full(s, 1, Float32, CPU, 2), Full(s, 2, Float32, CPU, 2)).Float32s(), []float32{3, 3}, 0)
		return nil
	})
}

func TestOutOfMemoryIsRecognised(t *testing.T) {
	e := start(t)
	err := e.Do(context.Background(), func(s *Scope) error {
		Empty(s, Float32, CPU, 1<<50)
		return nil
	})
	var failure *Error
	if !errors.As(err, &failure) || !failure.OutOfMemory() {
		t.Fatalf("4 PiB: got %v, want an out-of-memory *Error", err)
	}
}

func TestScopes(t *testing.T) {
	e := start(t)
	before := LiveTensors()
	do(t, e, func(s *Scope) error {
		sum := s.Sub(func(s *Scope) Tensor {
			x := Full(s, 1, Float32, CPU, 4)
			inner := s.Sub(func(s *Scope) Tensor { return MulScalar(s, AddScalar(s, x, 1), 3) })
			return Add(s, x, inner)
		})
		near(t, "result of nested scopes", sum.Float32s(), []float32{7, 7, 7, 7}, 0)
		if s.Len() != 1 {
			t.Errorf("the outer scope holds %d tensors, want only the result", s.Len())
		}
		outer := s.Sub(func(*Scope) Tensor { return sum })
		if s.Len() != 1 || outer.Float32s()[0] != 7 {
			t.Error("returning a tensor of the outer scope must leave it there")
		}
		return nil
	})
	if LiveTensors() != before {
		t.Errorf("%d tensors leaked", LiveTensors()-before)
	}
}

func TestTensorOutlivesViewedScope(t *testing.T) {
	e := start(t)
	do(t, e, func(s *Scope) error {
		view := s.Sub(func(s *Scope) Tensor { return Narrow(s, Arange(s, 6, CPU), 0, 4, 2) })
		if got := view.Int64s(); got[0] != 4 || got[1] != 5 {
			t.Errorf("view of a freed tensor reads %v, want [4 5]", got)
		}
		return nil
	})
}

func TestUseAfterCloseIsAPanicNotACrash(t *testing.T) {
	s := NewScope()
	x := Full(s, 1, Float32, CPU, 1)
	s.Close()
	s.Close()
	defer func() {
		if recover() == nil {
			t.Error("reading a tensor of a closed scope went through")
		}
	}()
	x.Item()
}

func TestOtherPanicsReachTheCaller(t *testing.T) {
	e := start(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic that is no *Error was swallowed")
			}
		}()
		_ = e.Do(context.Background(), func(*Scope) error { panic("a bug") })
	}()
	do(t, e, func(*Scope) error { return nil })
}

func TestGoexitDoesNotStopTheEngine(t *testing.T) {
	e := start(t)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		_ = e.Do(context.Background(), func(*Scope) error {
			runtime.Goexit()
			return nil
		})
		ended <- true // not reached
	}()
	if <-ended {
		t.Error("Do returned although f left by Goexit")
	}
	do(t, e, func(*Scope) error { return nil })
}

func TestDoHonoursItsContext(t *testing.T) {
	e := start(t)
	running, release := make(chan struct{}), make(chan struct{})
	go func() {
		_ = e.Do(context.Background(), func(*Scope) error {
			close(running)
			<-release
			return nil
		})
	}()
	<-running
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	ran := false
	if err := e.Do(ctx, func(*Scope) error { ran = true; return nil }); !errors.Is(err, context.DeadlineExceeded) || ran {
		t.Errorf("waiting behind a long call: err %v, ran %v; want the deadline and no run", err, ran)
	}
	close(release)
	e.Close()
	if err := e.Do(context.Background(), func(*Scope) error { return nil }); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("a closed engine answers %v, want Unavailable", err)
	}
}

func TestNoGradIsRestored(t *testing.T) {
	e := start(t)
	_ = e.Do(context.Background(), func(s *Scope) error {
		NoGrad(func() { panic(&Error{Op: "test"}) })
		return nil
	})
	do(t, e, func(s *Scope) error {
		x := Full(s, 2, Float32, CPU, 1)
		x.SetRequiresGrad(true)
		NoGrad(func() {
			if MulScalar(s, x, 2).RequiresGrad() {
				t.Error("NoGrad records")
			}
		})
		if !MulScalar(s, x, 2).RequiresGrad() {
			t.Error("gradients are off after a NoGrad that panicked")
		}
		return nil
	})
}

func TestSeedsAndState(t *testing.T) {
	e := start(t)
	do(t, e, func(s *Scope) error {
		draw := func() []float32 {
			x := Empty(s, Float32, CPU, 100)
			x.Normal(0, 1)
			return Dropout(s, x, 0.5, true).Float32s()
		}
		Seed(CPU, 7)
		first := draw()
		state := RNGState(CPU)
		second := draw()
		SetRNGState(CPU, state)
		near(t, "drawn again from the saved state", draw(), second, 0)
		Seed(CPU, 7)
		near(t, "drawn again from the seed", draw(), first, 0)
		return nil
	})
}

func TestThreads(t *testing.T) {
	for _, n := range []int{1, 2} {
		e, err := Start(EngineConfig{Threads: n})
		if err != nil {
			t.Fatal(err)
		}
		do(t, e, func(*Scope) error {
			if got := threads(); got != n {
				t.Errorf("libtorch uses %d threads, want %d", got, n)
			}
			return nil
		})
		e.Close()
	}
}

func TestStartRefuses(t *testing.T) {
	for field, cfg := range map[string]EngineConfig{
		"device":    {Device: "tpu"},
		"precision": {Precision: "fp8"},
		"threads":   {Threads: -1},
	} {
		if _, err := Start(cfg); errs.FieldOf(err) != field {
			t.Errorf("%+v: got %v, want an error about %s", cfg, err, field)
		}
	}
}

// Without a GPU, asking for one must fail at once, with a sentence that helps;
// with one, it must work.
func TestCUDA(t *testing.T) {
	e, err := Start(EngineConfig{Device: "cuda"})
	if err != nil {
		if errs.KindOf(err) != errs.Unavailable || !strings.HasPrefix(err.Error(), "device cuda: ") || !strings.Contains(err.Error(), "choose device cpu") {
			t.Errorf("got %v, want Unavailable that says what to do", err)
		}
		auto, err := Start(EngineConfig{Device: "auto"})
		if err != nil {
			t.Fatal(err)
		}
		defer auto.Close()
		if auto.Device() != CPU {
			t.Errorf("auto chose %v where cuda is not to be had", auto.Device())
		}
		return
	}
	defer e.Close()
	do(t, e, func(s *Scope) error {
		Seed(CUDA, 3)
		x := To(s, FromFloat32s(s, []float32{1, 2, 3, 4}, 2, 2), Float32, CUDA)
		near(t, "a product on the GPU", MatMul(s, x, x).Float32s(), []float32{7, 10, 15, 22}, 1e-5)
		const n = 1 << 20
		data, busy := make([]float32, n), Full(s, 1e-3, Float32, CUDA, 2048, 2048)
		for i := range data {
			data[i] = float32(i)
		}
		for range 20 { // each copy's memory is taken again while kernels still read the last one's
			for range 10 {
				busy = MatMul(s, busy, busy)
			}
			var x Tensor
			staged := Stage(CUDA, func(s *Scope) { x = AddScalar(s, Upload(s, data, Float32, CUDA, n), 1) })
			staged.Join()
			sum := SumAll(s, AsType(s, x, Float64))
			staged.Close()
			if got, want := sum.Item(), float64(n)*(n+1)/2; got != want {
				t.Fatalf("a staged tensor sums to %v, want %v", got, want)
			}
		}
		return nil
	})
}

func TestReadBackConverts(t *testing.T) {
	e := start(t)
	do(t, e, func(s *Scope) error {
		half := Upload(s, []uint16{0x3c00, 0xc000, 0x7bff}, Float16, CPU, 3) // 1, -2, 65504
		near(t, "float16", half.Float32s(), []float32{1, -2, 65504}, 0)
		brain := AsType(s, half, BFloat16)
		if got := brain.Bytes(); len(got) != 6 || got[1] != 0x3f || got[0] != 0x80 {
			t.Errorf("bfloat16 bytes %x, want 803f first", got)
		}
		turned := Transpose(s, FromInt64s(s, []int64{1, 2, 3, 4, 5, 6}, 2, 3), 0, 1)
		near(t, "a transposed view", turned.Float32s(), []float32{1, 4, 2, 5, 3, 6}, 0)
		if shape := turned.Shape(); shape[0] != 3 || shape[1] != 2 || turned.Size(-1) != 2 {
			t.Errorf("shape %v", shape)
		}
		if empty := Zeros(s, Float32, CPU, 0, 4).Float32s(); len(empty) != 0 {
			t.Errorf("an empty tensor reads %v", empty)
		}
		return nil
	})
}

func TestInPlace(t *testing.T) {
	e := start(t)
	do(t, e, func(s *Scope) error {
		p := FromFloat32s(s, []float32{1, 2}, 2)
		p.SetRequiresGrad(true) // a parameter: writing must still work
		p.AddScaled(Full(s, 1, Float32, CPU, 2), 0.5)
		p.AddProduct(p, p, 1)
		p.AddQuotient(Full(s, 3, Float32, CPU, 2), Full(s, 4, Float32, CPU, 2), 2)
		p.Scale(2)
		p.MulBy(FromFloat32s(s, []float32{1, -1}, 2))
		near(t, "result", p.Float32s(), []float32{2 * (1.5 + 2.25 + 1.5), -2 * (2.5 + 6.25 + 1.5)}, 1e-5)
		return nil
	})
}

// On the CPU tensors are staged at once; what matters is who frees them.
func TestStage(t *testing.T) {
	e := start(t)
	before := LiveTensors()
	do(t, e, func(s *Scope) error {
		var x Tensor
		staged := Stage(CPU, func(s *Scope) { x = AddScalar(s, Upload(s, []int64{1, 2}, Int64, CPU, 2), 1) })
		staged.Join()
		near(t, "staged", MulScalar(s, x, 2).Float32s(), []float32{4, 6}, 0)
		staged.Close()
		staged.Close()

		failure := Try(func() { Stage(CPU, func(s *Scope) { Upload(s, []uint16{1, 2, 3}, Float16, CPU, 2) }) })
		if failure == nil || !strings.Contains(failure.Message, "needs 4 bytes, got 6") {
			t.Errorf("a copy that does not fit its shape: %v", failure)
		}
		return nil
	})
	if after := LiveTensors(); after != before {
		t.Errorf("%d tensors live after, %d before: a stage that failed leaks", after, before)
	}
}

func TestErrorsOfTheDevice(t *testing.T) {
	for message, want := range map[string]struct{ memory, failed bool }{
		"CUDA out of memory. Tried to allocate 2.00 GiB.":                            {memory: true},
		"CUDA error: out of memory":                                                  {memory: true},
		"CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`": {memory: true},
		"[enforce fail] DefaultCPUAllocator: can't allocate memory":                  {memory: true},
		"CUDA error: an illegal memory access was encountered":                       {failed: true},
		"CUDA error: unspecified launch failure":                                     {failed: true},
		"mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)":                    {},
	} {
		e := &Error{Op: "linear", Message: message}
		if e.OutOfMemory() != want.memory || e.DeviceFailed() != want.failed {
			t.Errorf("%s: out of memory %t, device failed %t", message, e.OutOfMemory(), e.DeviceFailed())
		}
	}
}

// A GPU that cannot be taken is an error of every call, not a crash.
func TestThreadThatCannotBeBound(t *testing.T) {
	e := &Engine{device: CUDA, gpu: 99, threads: 1, jobs: make(chan *job), quit: make(chan struct{}), stopped: make(chan struct{})}
	go e.loop()
	defer e.Close()
	ran := false
	err := e.Do(context.Background(), func(*Scope) error { ran = true; return nil })
	var failure *Error
	if !errors.As(err, &failure) || failure.Op != "select a GPU" || ran {
		t.Errorf("%v, ran %t; want the failure to select GPU 99, and no run", err, ran)
	}
}
