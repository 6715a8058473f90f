package bundle

import (
	"fmt"
	"os"
	"syscall"

	"videosim/shared/errs"
)

// leastFile is the shortest file that can hold weights in any format: the
// length of a safetensors header.
const leastFile = 8

// MapFile maps a file of weights into memory, to be read only. Unmap frees it.
// What is no regular file is errs.Invalid, a missing one errs.NotFound, one too
// short for any weights errs.Corrupt.
func MapFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe would wait
	switch {
	case err != nil:
		return nil, openError(err)
	case info.IsDir():
		return nil, errs.New(errs.Invalid, "%s: expected a file of weights, found a folder", path)
	case !info.Mode().IsRegular():
		return nil, errs.New(errs.Invalid, "%s: expected a file of weights, found %v", path, info.Mode().Type())
	case info.Size() < leastFile:
		return nil, errs.New(errs.Corrupt, "%s: expected a file of weights of at least %d bytes, found %d", path, leastFile, info.Size())
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, openError(err)
	}
	defer file.Close() // the mapping outlives the descriptor
	mapped, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return mapped, nil
}

// Unmap frees what MapFile returned; nothing of it may be touched afterwards.
func Unmap(mapped []byte) error { return syscall.Munmap(mapped) }
