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
