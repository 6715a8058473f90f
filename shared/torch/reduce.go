package torch

// #include "shim.h"
import "C"

import "math"

// everything is the dim that stands for a reduction to a scalar.
const everything = math.MinInt64

// SumAll returns the sum of all elements, a scalar.
func SumAll(s *Scope, a Tensor) Tensor { return s.take("sum", C.vt_sum(a.c(), everything, false)) }

// MeanAll returns the mean of all elements, a scalar.
func MeanAll(s *Scope, a Tensor) Tensor { return s.take("mean", C.vt_mean(a.c(), everything, false)) }

// MaxAll returns the largest element, a scalar.
func MaxAll(s *Scope, a Tensor) Tensor { return s.take("max", C.vt_amax(a.c(), everything, false)) }

// MinAll returns the smallest element, a scalar.
func MinAll(s *Scope, a Tensor) Tensor { return s.take("min", C.vt_amin(a.c(), everything, false)) }

// NormAll returns the L2 norm over all elements, a scalar.
func NormAll(s *Scope, a Tensor) Tensor { return s.take("norm", C.vt_norm(a.c(), everything, false)) }

// All returns whether all booleans of a hold, a scalar.
func All(s *Scope, a Tensor) Tensor { return s.take("all", C.vt_all(a.c())) }

// Sum sums over dim, which stays with size 1 if keep is set.
func Sum(s *Scope, a Tensor, dim int64, keep bool) Tensor {
	return s.take("sum", C.vt_sum(a.c(), C.int64_t(dim), C.bool(keep)))
}

// Mean averages over dim.
func Mean(s *Scope, a Tensor, dim int64, keep bool) Tensor {
	return s.take("mean", C.vt_mean(a.c(), C.int64_t(dim), C.bool(keep)))
}

// Max returns the largest element along dim.
func Max(s *Scope, a Tensor, dim int64, keep bool) Tensor {
	return s.take("max", C.vt_amax(a.c(), C.int64_t(dim), C.bool(keep)))
}

// Min returns the smallest element along dim.
func Min(s *Scope, a Tensor, dim int64, keep bool) Tensor {
	return s.take("min", C.vt_amin(a.c(), C.int64_t(dim), C.bool(keep)))
}

// ArgMax returns the index of the largest element along dim.
func ArgMax(s *Scope, a Tensor, dim int64, keep bool) Tensor {
	return s.take("argmax", C.vt_argmax(a.c(), C.int64_t(dim), C.bool(keep)))
}

// Norm returns the L2 norm along dim.
func Norm(s *Scope, a Tensor, dim int64, keep bool) Tensor {
	return s.take("norm", C.vt_norm(a.c(), C.int64_t(dim), C.bool(keep)))
}
