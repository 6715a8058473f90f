package torch

// #include "shim.h"
import "C"

import "unsafe"

// Staged are tensors on their way to the device while it computes something else.
type Staged struct {
	tensors *Scope
	aside   C.vt_aside // nil on a CPU, which computes at once
}

// Stage runs f, which makes tensors on device in a scope of their own. On a GPU
// nothing that f queues stands in line behind the kernels queued before, nor they
// behind it. Join comes before the first use; Close frees the tensors.
func Stage(device Device, f func(s *Scope)) *Staged {
	t := &Staged{tensors: NewScope()}
	staged := false
	defer func() {
		if !staged { // f panicked, or the stream did
			t.Close()
		}
	}()
	t.run(device, f)
	staged = true
	return t
}

func (t *Staged) run(device Device, f func(s *Scope)) {
	if device == CUDA {
		check("stage", C.vt_aside_begin(&t.aside))
		defer func() { check("stage", C.vt_aside_end(t.aside)) }()
	}
	f(t.tensors)
}

// Join makes what is queued from now on wait for the tensors.
func (t *Staged) Join() {
	if t.aside != nil {
		handles := t.tensors.handles
		check("join", C.vt_aside_join(t.aside, unsafe.SliceData(handles), C.size_t(len(handles))))
	}
}

// Close frees the tensors, whether they were used or not. What is queued already may
// still use them.
func (t *Staged) Close() {
	t.tensors.Close()
	if t.aside != nil {
		C.vt_aside_free(t.aside)
		t.aside = nil
	}
}
