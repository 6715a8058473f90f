package vecdb

import (
	"fmt"
	"syscall"
)

// allocate returns zeroed memory outside the Go heap. A gigabyte of vectors on
// the heap would let the collector wait until as much garbage has piled up.
// Huge pages, where the system gives them, spare the scan its page walks.
func allocate(size int) ([]byte, error) {
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes for vectors: %w", size, err)
	}
	_ = syscall.Madvise(b, 14) // MADV_HUGEPAGE: a hint, its refusal costs speed only
	return b, nil
}

func release(b []byte) error { return syscall.Munmap(b) }
