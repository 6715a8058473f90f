package torch

// #include "shim.h"
import "C"

// LimitMemory bounds what the tensors of this process may hold on the CPU, in
// bytes. A tensor beyond it is refused with an *Error that is OutOfMemory, where
// the system would grant the memory and kill the process once it is used.
func LimitMemory(bytes uint64) { C.vt_limit_memory(C.uint64_t(bytes)) }

// Memory is what tensors hold on the CPU now, in bytes. Packed weights and what
// libraries keep for themselves are not in it.
func Memory() uint64 { return uint64(C.vt_memory()) }
