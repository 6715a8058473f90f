package vecdb

import "golang.org/x/sys/cpu"

// scanKernel returns the fastest kernel that this CPU runs.
func scanKernel() func(*scanArgs) {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		return scanAVX2
	}
	return scanPortable
}

//go:noescape
func scanAVX2(a *scanArgs)
