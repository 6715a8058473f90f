package torch

// #include "shim.h"
import "C"

// NoGrad runs f without recording for autograd: less memory, more speed. Like
// all tensor work it belongs on the engine's thread.
func NoGrad(f func()) {
	was := C.vt_grad_enabled()
	C.vt_set_grad_enabled(false)
	defer C.vt_set_grad_enabled(was)
	f()
}

// Autocast runs f with the matrix products of device in dtype (BFloat16, or
// Float16 on a GPU) while parameters stay in Float32: a product converts its
// arguments, weights once for all of f. Sums, norms and whatever follows from
// Float32 alone stay Float32. With Float32 it switches an outer Autocast off.
// Backward belongs outside: gradients have the types of the forward pass.
func Autocast(device Device, dtype DType, f func()) {
	var was C.vt_autocast
	check("autocast", C.vt_autocast_begin(device.cuda(), C.int(dtype), &was))
	defer C.vt_autocast_end(device.cuda(), was)
	f()
}

// SetRequiresGrad says whether Backward computes a gradient for t, a tensor
// that no operation made.
func (t Tensor) SetRequiresGrad(on bool) {
	check("requires grad", C.vt_set_requires_grad(t.c(), C.bool(on)))
}

// RequiresGrad reports whether a gradient reaches t.
func (t Tensor) RequiresGrad() bool { return bool(C.vt_requires_grad(t.c())) }

// Backward adds the gradient of the scalar t to every tensor that t was
// computed from and that requires one, and frees the graph.
func (t Tensor) Backward() { check("backward", C.vt_backward(t.c())) }

// Grad returns t's gradient, or the zero Tensor if it has none.
func Grad(s *Scope, t Tensor) Tensor { return s.take("grad", C.vt_grad(t.c())) }

// ClearGrad drops t's gradient.
func (t Tensor) ClearGrad() { check("clear grad", C.vt_clear_grad(t.c())) }

// Detach returns t's values without their history.
func Detach(s *Scope, t Tensor) Tensor { return s.take("detach", C.vt_detach(t.c())) }

// Seed sets the random numbers of a device; the same seed gives the same
// dropout and the same initial weights on one build.
func Seed(device Device, seed uint64) {
	check("seed", C.vt_seed(device.cuda(), C.uint64_t(seed)))
}

// RNGState returns the state of a device's random numbers, for a checkpoint.
func RNGState(device Device) []byte {
	s := NewScope()
	defer s.Close()
	return s.take("rng state", C.vt_rng_state(device.cuda())).Bytes()
}

// SetRNGState continues from a state that RNGState returned.
func SetRNGState(device Device, state []byte) {
	s := NewScope()
	defer s.Close()
	t := FromBytes(s, Uint8, state, int64(len(state)))
	check("set rng state", C.vt_set_rng_state(device.cuda(), t.c()))
}
