package torch

// #include "shim.h"
import "C"

// Reshape gives a another shape; one size may be -1.
func Reshape(s *Scope, a Tensor, shape ...int64) Tensor {
	p, rank := dims(shape)
	return s.take("reshape", C.vt_reshape(a.c(), p, rank))
}

// Expand repeats dimensions of size 1 without copying; -1 keeps a size.
func Expand(s *Scope, a Tensor, shape ...int64) Tensor {
	p, rank := dims(shape)
	return s.take("expand", C.vt_expand(a.c(), p, rank))
}

// Transpose exchanges two dimensions.
func Transpose(s *Scope, a Tensor, i, j int64) Tensor {
	return s.take("transpose", C.vt_transpose(a.c(), C.int64_t(i), C.int64_t(j)))
}

// Unsqueeze inserts a dimension of size 1 before dim.
func Unsqueeze(s *Scope, a Tensor, dim int64) Tensor {
	return s.take("unsqueeze", C.vt_unsqueeze(a.c(), C.int64_t(dim)))
}

// Squeeze removes dimension dim if its size is 1.
func Squeeze(s *Scope, a Tensor, dim int64) Tensor {
	return s.take("squeeze", C.vt_squeeze(a.c(), C.int64_t(dim)))
}

// Narrow returns length elements of dim from start on, as a view.
func Narrow(s *Scope, a Tensor, dim, start, length int64) Tensor {
	return s.take("narrow", C.vt_narrow(a.c(), C.int64_t(dim), C.int64_t(start), C.int64_t(length)))
}

// Select returns the slice at index of dim, without that dimension, as a view.
func Select(s *Scope, a Tensor, dim, index int64) Tensor {
	return s.take("select", C.vt_select(a.c(), C.int64_t(dim), C.int64_t(index)))
}

// Cat joins tensors along dim.
func Cat(s *Scope, dim int64, parts ...Tensor) Tensor {
	handles := make([]C.vt_tensor, len(parts))
	for i, p := range parts {
		handles[i] = p.c()
	}
	var first *C.vt_tensor
	if len(handles) > 0 {
		first = &handles[0]
	}
	return s.take("cat", C.vt_cat(first, C.size_t(len(handles)), C.int64_t(dim)))
}
