package torch

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/cpu"

	"videosim/shared/errs"
)

// EngineConfig says what the engine runs on.
type EngineConfig struct {
	// Device is "cpu", "cuda", "cuda:1" for another GPU than the first, or
	// "auto": a GPU where one answers, else the CPU.
	Device string
	// Threads is the number of cores an operation may use; 0 means all.
	Threads int
	// Precision of a served model's weights and activations: "fp32", "bf16", or
	// "auto": bf16 where the hardware multiplies it natively, else fp32. "int8" is
	// bf16 with the products of large layers in 8-bit integers.
	Precision string
	// Seed of the random numbers for dropout and initialisation; 0 is a seed
	// like any other.
	Seed uint64
}

// Engine is one goroutine locked to one thread, on which all tensor work
// happens: libtorch's gradient mode and thread count, and OpenMP's pool, belong
// to a thread. Hop to it once a batch.
type Engine struct {
	device    Device
	gpu       int
	dtype     DType
	int8      bool
	threads   int
	jobs      chan *job
	quit      chan struct{}
	closeOnce sync.Once
	stopped   chan struct{}
}

type job struct {
	f        func(s *Scope) error
	done     chan struct{}
	err      error
	panicked any
	goexit   bool
}

// Start starts an engine. Asking for a device that is not there is an error
// that says what is missing.
func Start(cfg EngineConfig) (*Engine, error) {
	device, gpu, err := resolveDevice(cfg.Device)
	if err != nil {
		return nil, err
	}
	dtype, err := resolvePrecision(cfg.Precision, device)
	if err != nil {
		return nil, err
	}
	threads := cfg.Threads
	if threads < 0 {
		return nil, errs.Field("threads", "expected 0 (all cores) or more, found %d", threads)
	}
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	e := &Engine{
		device: device, gpu: gpu, dtype: dtype, int8: cfg.Precision == "int8", threads: threads,
		jobs: make(chan *job), quit: make(chan struct{}), stopped: make(chan struct{}),
	}
	if threads > 1 {
		e.keepFromSpinning()
	}
	go e.loop()
	err = e.Do(context.Background(), func(*Scope) error {
		Seed(device, cfg.Seed)
		return nil
	})
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Device returns the device that was chosen.
func (e *Engine) Device() Device { return e.device }

// DType returns the element type of a served model: the precision that was
// chosen. Training is always in Float32.
func (e *Engine) DType() DType { return e.dtype }

// Int8 says whether large products are to be computed in 8-bit integers.
func (e *Engine) Int8() bool { return e.int8 }

// PacksWeights says whether packed weights multiply faster than plain ones on the
// engine's device. On a CPU with AVX2 alone they take the same time, and rows of
// a product may round otherwise than their neighbours.
func (e *Engine) PacksWeights() bool {
	return e.device == CPU && cpu.X86.HasAVX512 && (e.dtype == Float32 || nativeBFloat16())
}

func nativeBFloat16() bool { return cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16 }

// Threads returns how many cores an operation may use.
func (e *Engine) Threads() int { return e.threads }

// Do runs f on the engine's thread and waits for it. Calls are served one at a
// time, in the order in which they arrived. The scope that f gets is closed
// when f returns.
//
// A *Error raised in f is returned as an error of Kind Internal; any other
// panic goes on in the caller. If ctx ends while Do waits for its turn, f never
// runs; once f runs, Do waits for it to return. f itself must not call Do: the
// thread that would serve it is the one that f occupies.
func (e *Engine) Do(ctx context.Context, f func(s *Scope) error) error {
	j := &job{f: f, done: make(chan struct{})}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case e.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-e.quit:
		return errs.New(errs.Unavailable, "torch: the engine is closed")
	}
	<-j.done
	if j.goexit {
		runtime.Goexit() // a test's FailNow inside f ends the caller too
	}
	if j.panicked != nil {
		panic(j.panicked)
	}
	return j.err
}

// Close waits for the call in progress and ends the engine's thread. Tensors
// in scopes that are still open stay valid.
func (e *Engine) Close() {
	e.closeOnce.Do(func() { close(e.quit) })
	<-e.stopped
}

func (e *Engine) loop() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	failure := Try(e.bind)
	for {
		select {
		case <-e.quit:
			close(e.stopped)
			return
		case j := <-e.jobs:
			if failure != nil { // such as a GPU that another process has for itself
				j.err = failure
				close(j.done)
				continue
			}
			e.run(j)
		}
	}
}

// bind sets up what belongs to the calling thread.
func (e *Engine) bind() {
	check("start", C.vt_start(C.int(e.threads)))
	if e.device == CUDA {
		check("select a GPU", C.vt_select_cuda(C.int(e.gpu)))
	}
}

// keepFromSpinning makes operations cheap on a machine that is busy. Threads of
// GNU OpenMP spin for about a millisecond at the end of every parallel region,
// unless the process has more of them than the machine has cores; then they
// soon sleep. Spinning threads take the core from the very thread that they
// wait for: with other work on the machine, a small network runs ten times
// slower. So a second team is formed, on a thread that then only waits.
func (e *Engine) keepFromSpinning() {
	formed := make(chan struct{})
	go func() {
		runtime.LockOSThread() // the team ends with its thread
		check("start", C.vt_start(C.int(runtime.NumCPU())))
		s := NewScope()
		Full(s, 0, Float32, CPU, 1<<18) // large enough to be done in parallel
		s.Close()
		close(formed)
		<-e.quit
	}()
	<-formed
}

// run settles j however f ends: by returning, by a panic, or by Goexit, which
// takes this goroutine with it, so that another must go on.
func (e *Engine) run(j *job) {
	s := NewScope()
	returned := false
	defer func() {
		p := recover()
		C.vt_set_grad_enabled(true)
		s.Close()
		switch failure, ok := p.(*Error); {
		case ok:
			j.err = failure
		case p != nil:
			j.panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
		case !returned:
			j.goexit = true
			go e.loop()
		}
		close(j.done)
	}()
	j.err = j.f(s)
	returned = true
}

// threads is libtorch's thread count on the calling thread.
func threads() int { return int(C.vt_threads()) }

// resolveDevice also returns which GPU it is.
func resolveDevice(name string) (Device, int, error) {
	kind, index, indexed := strings.Cut(name, ":")
	switch {
	case name == "" || name == "cpu":
		return CPU, 0, nil
	case name == "auto":
		if loadCUDA(0) == nil {
			return CUDA, 0, nil
		}
		return CPU, 0, nil
	case name == "cuda":
		return CUDA, 0, loadCUDA(0)
	case kind == "cuda" && indexed:
		if gpu, err := strconv.Atoi(index); err == nil && gpu >= 0 {
			return CUDA, gpu, loadCUDA(gpu)
		}
	}
	return CPU, 0, errs.Field("device", "expected cpu, cuda, cuda:<number> or auto, found %q", name)
}

// loadCUDA registers the CUDA kernels with libtorch and checks that there is a
// GPU of that number. It has to happen before anything else asks libtorch
// about CUDA, because it remembers the answer.
func loadCUDA(gpu int) error {
	var devices C.int
	if message := C.vt_load_cuda(&devices); message != nil {
		defer C.free(unsafe.Pointer(message))
		return errs.New(errs.Unavailable, "device cuda: the CUDA build of libtorch cannot be loaded: %s; "+
			"install it and its libraries (or point LIBTORCH at one and run deploy/setup.sh), or choose device cpu",
			C.GoString(message))
	}
	if devices == 0 {
		return errs.New(errs.Unavailable, "device cuda: libtorch finds no GPU on this machine; "+
			"check the driver with nvidia-smi, or choose device cpu")
	}
	if gpu >= int(devices) {
		return errs.New(errs.Unavailable, "device cuda:%d: libtorch finds %d GPUs on this machine, numbered from 0", gpu, devices)
	}
	return nil
}

func resolvePrecision(name string, device Device) (DType, error) {
	switch name {
	case "", "fp32":
		return Float32, nil
	case "bf16":
		return BFloat16, nil
	case "auto":
		if device == CUDA || nativeBFloat16() {
			return BFloat16, nil
		}
		return Float32, nil
	case "int8":
		if device == CPU && cpu.X86.HasAVX512VNNI && nativeBFloat16() {
			return BFloat16, nil
		}
		return Float32, errs.Field("precision", "int8 needs a CPU with the instructions avx512_vnni and avx512_bf16, which this device lacks; choose auto")
	}
	return Float32, errs.Field("precision", "expected fp32, bf16, int8 or auto, found %q", name)
}
