package torch

// #include "shim.h"
import "C"

// The methods below change t where it lies and are never recorded for autograd:
// they are for loading, initialising and optimising parameters.

// Copy writes src into t, converting dtype and device.
func (t Tensor) Copy(src Tensor) { check("copy", C.vt_copy_(t.c(), src.c())) }

// Fill sets every element to value.
func (t Tensor) Fill(value float64) { check("fill", C.vt_fill_(t.c(), C.double(value))) }

// Uniform draws every element from low..high.
func (t Tensor) Uniform(low, high float64) {
	check("uniform", C.vt_uniform_(t.c(), C.double(low), C.double(high)))
}

// Normal draws every element from N(mean, std²).
func (t Tensor) Normal(mean, std float64) {
	check("normal", C.vt_normal_(t.c(), C.double(mean), C.double(std)))
}

// MulBy multiplies t by another tensor: t ← t·by.
func (t Tensor) MulBy(by Tensor) { check("mul by", C.vt_mul_(t.c(), by.c())) }

// Scale multiplies t by a number: t ← t·by.
func (t Tensor) Scale(by float64) { check("scale", C.vt_mul_scalar_(t.c(), C.double(by))) }

// AddScaled is t ← t + alpha·other, for floating-point tensors.
func (t Tensor) AddScaled(other Tensor, alpha float64) {
	check("add scaled", C.vt_add_(t.c(), other.c(), C.double(alpha)))
}

// AddProduct is t ← t + value·a·b.
func (t Tensor) AddProduct(a, b Tensor, value float64) {
	check("add product", C.vt_addcmul_(t.c(), a.c(), b.c(), C.double(value)))
}

// AddQuotient is t ← t + value·a/b.
func (t Tensor) AddQuotient(a, b Tensor, value float64) {
	check("add quotient", C.vt_addcdiv_(t.c(), a.c(), b.c(), C.double(value)))
}

// AdamSettings are those of one step of Adam for one tensor.
type AdamSettings struct {
	Beta1, Beta2, Eps float64
	Rate              float64 // learning rate of this step
	Decay             float64 // decoupled weight decay, of the value before the step
	MaxNorm           float64 // to which the tensor's gradient is clipped
}

// AdamStep is one step of Adam without bias correction, in place and in one
// pass over the memory, for contiguous Float32 tensors on the CPU: with g the
// gradient after clipping,
//
//	mean ← β₁·mean + (1-β₁)·g        meanSquare ← β₂·meanSquare + (1-β₂)·g²
//	t ← t - rate·(mean / (√meanSquare + ε) + decay·t)
func (t Tensor) AdamStep(grad, mean, meanSquare Tensor, a AdamSettings) {
	check("adam step", C.vt_adam_(t.c(), grad.c(), mean.c(), meanSquare.c(), C.vt_adam{
		beta1: C.double(a.Beta1), beta2: C.double(a.Beta2), eps: C.double(a.Eps),
		rate: C.double(a.Rate), decay: C.double(a.Decay), max_norm: C.double(a.MaxNorm),
	}))
}
