package torch

// #include "shim.h"
import "C"

// Binary operations broadcast as NumPy does.

// Add returns a + b.
func Add(s *Scope, a, b Tensor) Tensor { return s.take("add", C.vt_add(a.c(), b.c())) }

// Sub returns a - b.
func Sub(s *Scope, a, b Tensor) Tensor { return s.take("sub", C.vt_sub(a.c(), b.c())) }

// Mul returns a · b, element by element.
func Mul(s *Scope, a, b Tensor) Tensor { return s.take("mul", C.vt_mul(a.c(), b.c())) }

// Div returns a / b, element by element.
func Div(s *Scope, a, b Tensor) Tensor { return s.take("div", C.vt_div(a.c(), b.c())) }

// Minimum returns the smaller of a and b, element by element.
func Minimum(s *Scope, a, b Tensor) Tensor { return s.take("minimum", C.vt_minimum(a.c(), b.c())) }

// Maximum returns the larger of a and b, element by element.
func Maximum(s *Scope, a, b Tensor) Tensor { return s.take("maximum", C.vt_maximum(a.c(), b.c())) }

// AddScalar returns a + x.
func AddScalar(s *Scope, a Tensor, x float64) Tensor {
	return s.take("add scalar", C.vt_add_scalar(a.c(), C.double(x)))
}

// MulScalar returns a · x.
func MulScalar(s *Scope, a Tensor, x float64) Tensor {
	return s.take("mul scalar", C.vt_mul_scalar(a.c(), C.double(x)))
}

// Pow returns a to the power x.
func Pow(s *Scope, a Tensor, x float64) Tensor {
	return s.take("pow", C.vt_pow_scalar(a.c(), C.double(x)))
}

// EqualScalar returns a == x as booleans.
func EqualScalar(s *Scope, a Tensor, x float64) Tensor {
	return s.take("equal scalar", C.vt_eq_scalar(a.c(), C.double(x)))
}

// GreaterScalar returns a > x as booleans.
func GreaterScalar(s *Scope, a Tensor, x float64) Tensor {
	return s.take("greater scalar", C.vt_gt_scalar(a.c(), C.double(x)))
}

// Clamp limits a to low..high. No gradient passes outside the bounds.
func Clamp(s *Scope, a Tensor, low, high float64) Tensor {
	return s.take("clamp", C.vt_clamp(a.c(), C.double(low), C.double(high)))
}

// Neg returns -a.
func Neg(s *Scope, a Tensor) Tensor { return s.take("neg", C.vt_neg(a.c())) }

// Exp returns e to the power a.
func Exp(s *Scope, a Tensor) Tensor { return s.take("exp", C.vt_exp(a.c())) }

// Log returns the natural logarithm of a.
func Log(s *Scope, a Tensor) Tensor { return s.take("log", C.vt_log(a.c())) }

// Sqrt returns the square root of a.
func Sqrt(s *Scope, a Tensor) Tensor { return s.take("sqrt", C.vt_sqrt(a.c())) }

// Sigmoid returns 1 / (1 + e^-a).
func Sigmoid(s *Scope, a Tensor) Tensor { return s.take("sigmoid", C.vt_sigmoid(a.c())) }

// ReLU returns max(a, 0).
func ReLU(s *Scope, a Tensor) Tensor { return s.take("relu", C.vt_relu(a.c())) }

// GELU returns a·Φ(a), the exact form by erf.
func GELU(s *Scope, a Tensor) Tensor { return s.take("gelu", C.vt_gelu(a.c())) }

// Where returns a where condition holds and b elsewhere.
func Where(s *Scope, condition, a, b Tensor) Tensor {
	return s.take("where", C.vt_where(condition.c(), a.c(), b.c()))
}

// MaskedFill returns a with value where mask holds.
func MaskedFill(s *Scope, a, mask Tensor, value float64) Tensor {
	return s.take("masked fill", C.vt_masked_fill(a.c(), mask.c(), C.double(value)))
}
