package bundle

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange swaps two folders atomically; file systems that cannot (some
// network mounts) fall back to two renames.
func exchange(temp, dir string) error {
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return exchangeByRename(temp, dir)
	}
	return err
}
