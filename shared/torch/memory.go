package torch

// #include "shim.h"
import "C"

import (
	"math"
	"runtime/debug"
)

// NoLimit is LimitMemory's way back to what holds at first.
const NoLimit = math.MaxInt64

// LimitMemory bounds what the tensors of this process may hold on the CPU, in
// bytes. A tensor beyond it is refused with an *Error that is OutOfMemory, where
// the system would grant the memory and kill the process once it is used.
func LimitMemory(bytes uint64) { C.vt_limit_memory(C.uint64_t(bytes)) }

// Memory is what tensors hold on the CPU now, in bytes, packed weights included. What
// libraries keep for themselves is not in it.
func Memory() uint64 { return uint64(C.vt_memory()) }

// TrimMemory returns to the system what is freed but kept for reuse, Go's part too.
// It takes some milliseconds.
func TrimMemory() {
	debug.FreeOSMemory()
	C.vt_trim_memory()
}
