package torch

/*
#cgo CXXFLAGS: -std=c++20 -O2 -D_GLIBCXX_USE_CXX11_ABI=1
#cgo CXXFLAGS: -I${SRCDIR}/../../.deps/libtorch/include
#cgo CXXFLAGS: -I${SRCDIR}/../../.deps/libtorch/include/torch/csrc/api/include
#cgo CXXFLAGS: -I${SRCDIR}
#cgo LDFLAGS: -L${SRCDIR}/../../.deps/libtorch/lib -ltorch_cpu -lc10 -ldl -lstdc++
#cgo LDFLAGS: -Wl,--allow-shlib-undefined
#cgo LDFLAGS: -Wl,-rpath,$ORIGIN/../lib:$ORIGIN/../.deps/libtorch/lib
#cgo LDFLAGS: -Wl,-rpath,${SRCDIR}/../../.deps/libtorch/lib
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"
)

// Tensor is a handle to a libtorch tensor. It is a small value that may be
// copied; it owns nothing and frees nothing: the Scope that made it does. The
// zero Tensor means "no tensor" and is accepted only where a function says so.
type Tensor struct {
	h     C.vt_tensor
	owner *Scope
}

// Error is a failure reported by libtorch. Operations panic with it, and
// Engine.Do turns it into an ordinary error, so a network's Forward reads as
// the formula it computes.
type Error struct {
	Op      string // the operation, by the name it has in this package
	Message string // libtorch's own words
}

func (e *Error) Error() string { return "torch: " + e.Op + ": " + e.Message }

// OutOfMemory reports whether the device had no room for the result, in which
// case the same work in smaller batches may succeed. libtorch has then given back
// all memory that it kept for reuse, and tried again.
func (e *Error) OutOfMemory() bool {
	for _, words := range []string{"out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED"} {
		if strings.Contains(e.Message, words) {
			return true
		}
	}
	return false
}

// DeviceFailed reports whether CUDA itself failed, such as by an illegal access in a
// kernel. It then answers every later call of this process with the same error: only
// a new process can use the GPU again.
func (e *Error) DeviceFailed() bool {
	return strings.Contains(e.Message, "CUDA error: ") && !e.OutOfMemory()
}

// Try runs f and returns the *Error that it raised, nil if none.
func Try(f func()) (failure *Error) {
	defer func() {
		p := recover()
		if e, ok := p.(*Error); ok {
			failure = e
		} else if p != nil {
			panic(p)
		}
	}()
	f()
	return nil
}

// check panics if C reported a failure of op.
func check(op string, message *C.char) {
	if message == nil {
		return
	}
	defer C.free(unsafe.Pointer(message))
	panic(&Error{Op: op, Message: C.GoString(message)})
}

// DType is the type of a tensor's elements.
type DType int

// The numbers are those of c10::ScalarType, which libtorch never renumbers.
const (
	Uint8    DType = 0
	Int32    DType = 3
	Int64    DType = 4
	Float16  DType = 5
	Float32  DType = 6
	Float64  DType = 7
	Bool     DType = 11
	BFloat16 DType = 15
)

var dtypes = map[DType]struct {
	name string
	size int
}{
	Uint8: {"uint8", 1}, Int32: {"int32", 4}, Int64: {"int64", 8}, Bool: {"bool", 1},
	Float16: {"float16", 2}, BFloat16: {"bfloat16", 2}, Float32: {"float32", 4}, Float64: {"float64", 8},
}

func (d DType) String() string {
	if t, ok := dtypes[d]; ok {
		return t.name
	}
	return fmt.Sprintf("dtype %d", int(d))
}

// Size is the number of bytes of one element.
func (d DType) Size() int { return dtypes[d].size }

// Device is where a tensor lives and its operations run.
type Device uint8

const (
	CPU Device = iota
	CUDA
)

func (d Device) String() string {
	if d == CUDA {
		return "cuda"
	}
	return "cpu"
}

func (d Device) cuda() C.bool { return d == CUDA }

// Defined reports whether t is a tensor at all.
func (t Tensor) Defined() bool { return t.h != nil }

// c returns the handle for a C call. Both panics are bugs of the caller: what
// they catch would otherwise be a read of freed memory.
func (t Tensor) c() C.vt_tensor {
	if t.h == nil {
		panic("torch: an operation was given no tensor")
	}
	return t.optional()
}

// optional is c for arguments that may be absent.
func (t Tensor) optional() C.vt_tensor {
	if t.h != nil && t.owner.closed {
		panic("torch: a tensor was used after its scope was closed")
	}
	return t.h
}

func (t Tensor) info() C.vt_info {
	var i C.vt_info
	check("describe", C.vt_describe(t.c(), &i))
	return i
}

// Shape returns the sizes of t, outermost first; a scalar has none.
func (t Tensor) Shape() []int64 {
	i := t.info()
	shape := make([]int64, i.rank)
	for d := range shape {
		shape[d] = int64(i.dims[d])
	}
	return shape
}

// Size returns the size of dimension d; negative d counts from the end.
func (t Tensor) Size(d int) int64 {
	i := t.info()
	if d < 0 {
		d += int(i.rank)
	}
	if d < 0 || d >= int(i.rank) {
		panic(&Error{Op: "size", Message: fmt.Sprintf("dimension %d of a tensor of %d dimensions", d, i.rank)})
	}
	return int64(i.dims[d])
}

// Elements returns the number of elements of t.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape() {
		n *= d
	}
	return n
}

// DType returns the type of t's elements.
func (t Tensor) DType() DType { return DType(t.info().dtype) }

// Device returns where t lives.
func (t Tensor) Device() Device {
	if t.info().cuda != 0 {
		return CUDA
	}
	return CPU
}

// Item returns the value of a tensor of one element.
func (t Tensor) Item() float64 {
	var v C.double
	check("item", C.vt_item(t.c(), &v))
	return float64(v)
}

// Float32s returns t's elements, row-major, converted to float32 and copied
// from whatever device t is on.
func (t Tensor) Float32s() []float32 { return read[float32](t, Float32) }

// Int64s returns t's elements, row-major, as int64.
func (t Tensor) Int64s() []int64 { return read[int64](t, Int64) }

// Bytes returns t's elements, row-major and little-endian, in t's own dtype.
func (t Tensor) Bytes() []byte {
	dtype := t.DType()
	out := make([]byte, t.Elements()*int64(dtype.Size()))
	t.readInto(dtype, unsafe.Pointer(unsafe.SliceData(out)), len(out))
	return out
}

func read[T float32 | int64](t Tensor, dtype DType) []T {
	out := make([]T, t.Elements())
	t.readInto(dtype, unsafe.Pointer(unsafe.SliceData(out)), len(out)*dtype.Size())
	return out
}

func (t Tensor) readInto(dtype DType, out unsafe.Pointer, bytes int) {
	check("read", C.vt_read(t.c(), C.int(dtype), out, C.size_t(bytes)))
}
