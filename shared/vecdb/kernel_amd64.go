package vecdb

import "golang.org/x/sys/cpu"

// scanKernel returns the fastest kernel that this CPU runs.
func scanKernel() func(*scanArgs) {
	if hasAVX2() {
		return scanAVX2
	}
	return scanPortable
}

// dotKernel is scanKernel for the second kernel.
func dotKernel(dim int) func(*dotArgs) {
	if hasAVX2() && dim%32 == 0 {
		return dotAVX2
	}
	return dotPortableRows
}

func hasAVX2() bool { return cpu.X86.HasAVX2 && cpu.X86.HasFMA }

//go:noescape
func scanAVX2(a *scanArgs)

//go:noescape
func dotAVX2(a *dotArgs)
