package testkit

import (
	"testing"
	"time"

	"videosim/shared/bus"
)

// NATS starts an embedded server with JetStream on disk on a free port, and
// ends it with the test. Writes are not synced one by one: no test cuts the
// power, and a shared disk would make them slow.
func NATS(t testing.TB) *bus.Server {
	t.Helper()
	return natsIn(t, t.TempDir(), -1)
}

func natsIn(t testing.TB, dir string, port int) *bus.Server {
	t.Helper()
	s, err := bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: port, SyncInterval: time.Second})
	if err != nil {
		t.Fatalf("start NATS: %v", err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// Bus is NATS with a connection over its socket and the suite's streams.
func Bus(t testing.TB) *bus.Bus {
	t.Helper()
	return Connect(t, NATS(t))
}

// Connect connects to s over its socket and makes the suite's streams.
func Connect(t testing.TB, s *bus.Server) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Config{URL: s.ClientURL(), Name: t.Name()})
	if err != nil {
		t.Fatalf("connect to NATS: %v", err)
	}
	t.Cleanup(b.Close)
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatalf("make streams: %v", err)
	}
	return b
}
