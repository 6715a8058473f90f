package torch

// #include "shim.h"
import "C"

import (
	"sync/atomic"
	"unsafe"
)

var live atomic.Int64

// LiveTensors returns how many tensors the open scopes of the process hold.
// Tests compare it before and after; a difference is a leak.
func LiveTensors() int64 { return live.Load() }

// Scope owns the tensors that operations make in it and frees them together.
// Libtorch's own references (views, the autograd graph) are counted apart, so
// closing a scope never pulls memory from under them.
//
// A scope belongs to one goroutine at a time. One batch of work is one scope;
// parameters live in a scope as long as their model.
type Scope struct {
	handles []C.vt_tensor
	closed  bool
	step    func()
}

// NewScope opens a scope that lives until its Close.
func NewScope() *Scope { return &Scope{} }

// OnStep has f called at each Step in s and in the scopes that Sub opens in it.
func (s *Scope) OnStep(f func()) { s.step = f }

// Step marks a place where long work may pause for other work of the same
// thread, such as the end of a layer.
func (s *Scope) Step() {
	if s.step != nil {
		s.step()
	}
}

// Close frees every tensor of the scope. Closing twice is harmless.
func (s *Scope) Close() {
	if len(s.handles) > 0 {
		C.vt_free(unsafe.SliceData(s.handles), C.size_t(len(s.handles)))
		live.Add(-int64(len(s.handles)))
	}
	s.handles, s.closed = nil, true
}

// Len returns how many tensors the scope holds.
func (s *Scope) Len() int { return len(s.handles) }

// Sub runs f in a scope of its own and keeps only f's result, which becomes
// one of s. Everything else that f made is freed at once, which bounds the
// memory of a deep network without autograd to that of one layer.
func (s *Scope) Sub(f func(s *Scope) Tensor) Tensor {
	inner := &Scope{step: s.step}
	defer inner.Close()
	return s.Adopt(f(inner))
}

// Adopt moves t from the scope that owns it to s and returns it as a tensor of
// s. Copies of t that are still around keep their link to the old scope.
func (s *Scope) Adopt(t Tensor) Tensor {
	if t.h == nil || t.owner == s {
		return t
	}
	h := t.c()
	from := t.owner.handles
	for i := len(from) - 1; i >= 0; i-- { // results are near the end
		if from[i] == h {
			from[i] = from[len(from)-1]
			t.owner.handles = from[:len(from)-1]
			s.handles = append(s.handles, h)
			return Tensor{h: h, owner: s}
		}
	}
	panic("torch: a tensor was adopted twice")
}

// take makes the result of op a tensor of s, or panics with op's failure.
func (s *Scope) take(op string, r C.vt_result) Tensor {
	check(op, r.error)
	if s.closed {
		C.vt_free(&r.value, 1)
		panic("torch: an operation was given a closed scope")
	}
	if r.value == nil {
		return Tensor{}
	}
	s.handles = append(s.handles, r.value)
	live.Add(1)
	return Tensor{h: r.value, owner: s}
}
