package bus

import (
	"testing"
	"time"
)

// TestOnConnection: what was asked on a connection is over once it is back after
// a break, and what is asked then is not.
func TestOnConnection(t *testing.T) {
	t.Parallel()
	s, err := StartServer(ServerConfig{StoreDir: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	b, err := Connect(t.Context(), Config{URL: s.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	before, done := b.onConnection(t.Context())
	defer done()
	if before.Err() != nil {
		t.Error("over before the break")
	}
	if err := b.Conn.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-before.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("not over after the break")
	}
	after, done := b.onConnection(t.Context())
	defer done()
	if !b.Conn.IsConnected() || after.Err() != nil {
		t.Errorf("%s, %v", b.Conn.Status(), after.Err())
	}
}
