package bus_test

import (
	"testing"
	"time"

	"videosim/shared/bus"
	"videosim/shared/testkit"
)

// Settings of a worker may change with a restart, also where the server was
// started again as well, as in the all-in-one program.
func TestSettingsChangeWithARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := quick("c")
	for _, change := range []func(){
		func() { cfg.MaxAckPending = 128 },
		func() { cfg.MaxAckPending = 7 },
		func() { cfg.AckWait = 2 * time.Minute },
		func() { cfg.MaxDeliver = 9 },
	} {
		change()
		s, err := bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: -1})
		must(t, err)
		b := testkit.Connect(t, s)
		c, err := b.Consume(within(t), cfg)
		must(t, err)
		c.Stop()
		b.Close()
		s.Shutdown()
	}
}
