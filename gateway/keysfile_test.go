package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"videosim/shared/errs"
)

// writeKeys replaces a keys file, and makes the next call look at it.
func writeKeys(t *testing.T, r *rig, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if r != nil {
		r.doors.file.mu.Lock()
		defer r.doors.file.mu.Unlock()
		r.doors.file.looked, r.doors.file.changed = time.Time{}, time.Time{}
	}
}

// A key is replaced without a restart and without a moment in which neither
// the old nor the new one opens.
func TestKeyRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	line := func(key string) string { return "shop:" + HashKey(key) + ":query\n" }
	writeKeys(t, nil, path, "# the shop\n\n"+line("old"))
	r := newRig(t, func(c *Config) { c.KeysFile = path })
	r.fill(3)
	status := func(key string) int {
		return r.call("GET", "/v1/videos/v1/similar", "", "Authorization", "Bearer "+key).status
	}
	expect := func(stage string, old, next int) {
		t.Helper()
		if a, b := status("old"), status("next"); a != old || b != next {
			t.Errorf("%s: old key %d, next key %d, want %d and %d", stage, a, b, old, next)
		}
	}
	expect("before", 200, 401)
	writeKeys(t, r, path, line("old")+line("next"))
	expect("both", 200, 200)
	writeKeys(t, r, path, line("next"))
	expect("after", 401, 200)
	writeKeys(t, r, path, "shop:123:query\n")
	expect("a broken file", 401, 200)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("no file", 401, 200)
	writeKeys(t, r, path, "# none\n")
	expect("no keys", 401, 401) // an empty file closes the door, it does not take it away
}

func TestKeysFileFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	for text, want := range map[string]string{
		"\n\na:b\n": "line 3",
		"a:" + strings.Repeat("z", 64) + ":query": "line 1",
		"a:" + HashKey("k") + ":root":             "line 1",
	} {
		writeKeys(t, nil, path, text)
		_, err := newDoors(Settings{KeysFile: path}, nil)
		if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want a complaint about %s", text, err, want)
		}
	}
	if _, err := newDoors(Settings{KeysFile: path + "x"}, nil); errs.KindOf(err) != errs.Invalid {
		t.Errorf("no file: %v", err)
	}
	cfg := testConfig()
	cfg.Listen, cfg.KeysFile = ":8080", path
	if err := cfg.Validate(); err != nil {
		t.Errorf("a public address with a keys file: %v", err)
	}
}
