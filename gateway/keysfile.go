package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"videosim/shared/errs"
)

// keysFile holds keys that come and go without a restart. A file that cannot
// be read leaves the keys of the last good one in force.
type keysFile struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	keys    []door
	changed time.Time // of the file last looked at
	size    int64
	looked  time.Time
}

const (
	keysFileEvery = time.Second // how often a change is looked for
	maxKeysFile   = 1 << 20     // bytes; about 8,000 keys
)

// current returns the keys in force. A nil file has none.
func (f *keysFile) current() []door {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= keysFileEvery {
		f.looked = now
		if err := f.refresh(); err != nil {
			f.log.Error("the keys file is not used: the keys before stay in force", "error", err)
		}
	}
	return f.keys
}

// load reads the file for the first time.
func (f *keysFile) load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refresh()
}

// refresh reads the file if it changed since it was last looked at.
func (f *keysFile) refresh() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return errs.New(errs.Invalid, "keys-file: %w", err)
	}
	if info.ModTime().Equal(f.changed) && info.Size() == f.size {
		return nil
	}
	f.changed, f.size = info.ModTime(), info.Size()
	if info.Size() > maxKeysFile {
		return errs.Field("keys-file", "expected at most %d bytes, found %d", maxKeysFile, info.Size())
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return errs.New(errs.Invalid, "keys-file: %w", err)
	}
	keys, err := parseKeys(data)
	if err != nil {
		return err
	}
	f.keys = toDoors(keys)
	f.log.Info("keys file read", "file", f.path, "keys", len(keys))
	return nil
}

// parseKeys reads one key a line.
func parseKeys(data []byte) (Keys, error) {
	var keys Keys
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		at := fmt.Sprintf("keys-file, line %d", n)
		var key Key
		if err := key.UnmarshalText([]byte(text)); err != nil {
			return nil, errs.Field(at, "%w", err)
		}
		if err := (Keys{key}).validate(); err != nil {
			return nil, errs.New(errs.Invalid, "%s: %w", at, err)
		}
		keys = append(keys, key)
	}
	if err := lines.Err(); err != nil {
		return nil, errs.New(errs.Invalid, "keys-file: %w", err)
	}
	return keys, nil
}
