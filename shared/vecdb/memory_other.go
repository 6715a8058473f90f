//go:build !linux

package vecdb

// allocate returns zeroed memory.
func allocate(size int) ([]byte, error) { return make([]byte, size), nil }

func release([]byte) error { return nil }
