//go:build !linux

package bundle

func exchange(temp, dir string) error { return exchangeByRename(temp, dir) }
