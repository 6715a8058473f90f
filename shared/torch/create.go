package torch

// #include "shim.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// dims passes sizes to C.
func dims(v []int64) (*C.int64_t, C.int) {
	return (*C.int64_t)(unsafe.SliceData(v)), C.int(len(v))
}

// FromFloat32s makes a CPU tensor of the given shape from a copy of data.
func FromFloat32s(s *Scope, data []float32, shape ...int64) Tensor {
	return fromData(s, unsafe.Pointer(unsafe.SliceData(data)), len(data)*4, Float32, shape)
}

// FromInt64s makes a CPU tensor of the given shape from a copy of data.
func FromInt64s(s *Scope, data []int64, shape ...int64) Tensor {
	return fromData(s, unsafe.Pointer(unsafe.SliceData(data)), len(data)*8, Int64, shape)
}

// FromBytes makes a CPU tensor from a copy of raw, which holds the elements
// row-major and little-endian.
func FromBytes(s *Scope, dtype DType, raw []byte, shape ...int64) Tensor {
	return fromData(s, unsafe.Pointer(unsafe.SliceData(raw)), len(raw), dtype, shape)
}

// Upload makes a tensor on device, of dtype, from a copy of data: its elements, or
// the bits of those that Go has no type for. A GPU copies on its own time; nothing
// waits for it but what uses the tensor.
func Upload[T int64 | float32 | uint16](s *Scope, data []T, dtype DType, device Device, shape ...int64) Tensor {
	var one T
	return upload(s, unsafe.Pointer(unsafe.SliceData(data)), len(data)*int(unsafe.Sizeof(one)), dtype, device, shape)
}

func fromData(s *Scope, data unsafe.Pointer, bytes int, dtype DType, shape []int64) Tensor {
	return upload(s, data, bytes, dtype, CPU, shape)
}

func upload(s *Scope, data unsafe.Pointer, bytes int, dtype DType, device Device, shape []int64) Tensor {
	if dtype.Size() == 0 {
		panic(&Error{Op: "from data", Message: fmt.Sprintf("%v is not supported", dtype)})
	}
	p, rank := dims(shape)
	return s.take("from data", C.vt_from_data(data, C.size_t(bytes), p, rank, C.int(dtype), device.cuda()))
}

// Full makes a tensor whose elements are all value.
func Full(s *Scope, value float64, dtype DType, device Device, shape ...int64) Tensor {
	p, rank := dims(shape)
	return s.take("full", C.vt_full(p, rank, C.double(value), C.int(dtype), device.cuda()))
}

// Zeros makes a tensor of zeros.
func Zeros(s *Scope, dtype DType, device Device, shape ...int64) Tensor {
	return Full(s, 0, dtype, device, shape...)
}

// Empty makes a tensor whose elements are whatever the memory held.
func Empty(s *Scope, dtype DType, device Device, shape ...int64) Tensor {
	p, rank := dims(shape)
	return s.take("empty", C.vt_empty(p, rank, C.int(dtype), device.cuda()))
}

// Arange makes the int64 tensor 0, 1, … n-1.
func Arange(s *Scope, n int64, device Device) Tensor {
	return s.take("arange", C.vt_arange(C.int64_t(n), device.cuda()))
}

// To converts t to dtype on device; without a difference it copies nothing.
func To(s *Scope, t Tensor, dtype DType, device Device) Tensor {
	return s.take("to", C.vt_to(t.c(), C.int(dtype), device.cuda()))
}

// AsType converts t to dtype where it is.
func AsType(s *Scope, t Tensor, dtype DType) Tensor { return To(s, t, dtype, t.Device()) }
