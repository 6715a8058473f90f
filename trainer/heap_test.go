package trainer

import "runtime"

// heapNow is how much this process has ever allocated.
func heapNow() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func allocatedSince(before uint64) uint64 { return heapNow() - before }
