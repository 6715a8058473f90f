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

// NormAll returns the L2 norm over all elements, a scalar.
func NormAll(s *Scope, a Tensor) Tensor { return s.take("norm", C.vt_norm(a.c(), everything, false)) }

// Sum sums over dim, which stays with size 1 if keep is set.
func Sum(s *Scope, a Tensor, dim int64, keep bool) Tensor {
	return s.take("sum", C.vt_sum(a.c(), C.int64_t(dim), C.bool(keep)))
}

// Mean averages over dim.
func Mean(s *Scope, a Tensor, dim int64, keep bool) Tensor {
	return s.take("mean", C.vt_mean(a.c(), C.int64_t(dim), C.bool(keep)))
}

// Min returns the smallest element along dim.
func Min(s *Scope, a Tensor, dim int64, keep bool) Tensor {
	return s.take("min", C.vt_amin(a.c(), C.int64_t(dim), C.bool(keep)))
}

// Norm returns the L2 norm along dim.
func Norm(s *Scope, a Tensor, dim int64, keep bool) Tensor {
	return s.take("norm", C.vt_norm(a.c(), C.int64_t(dim), C.bool(keep)))
}
