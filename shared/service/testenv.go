package service

import (
	"log/slog"
	"strings"
	"sync"
)

// TB is the part of testing.TB that NewTestEnv needs; naming it here keeps
// package testing out of the programs.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Cleanup(func())
}

// NewTestEnv makes an Env for one test: everything that is logged or printed
// goes to the test's log, metrics are fresh, nothing is traced, and the admin
// port stays shut (use Env.Admin.Handler).
func NewTestEnv(t TB) *Env {
	t.Helper()
	out := &testWriter{t: t}
	t.Cleanup(out.close)
	env := NewEnv(LogConfig{}, nil, out, out)
	env.Log = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return env
}

// testWriter drops what comes after the test's end: testing panics at it.
type testWriter struct {
	mu    sync.Mutex
	t     TB
	ended bool
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.t.Logf("%s", strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

func (w *testWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}
