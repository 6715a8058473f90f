package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/event"
	"videosim/shared/testkit"
	"videosim/shared/testkit/tinybundle"
)

// onlyEmbedder is an embedder alone, a process with a NATS server for it.
type onlyEmbedder struct {
	*program
	bundle.Manifest // of its bundle
	bus             *bus.Bus
	admin           string // address
}

// startEmbedder returns when an embedder of a preset's models is ready.
func startEmbedder(t *testing.T, preset string, wait time.Duration, args ...string) *onlyEmbedder {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "bundle")
	tinybundle.WritePreset(t, folder, preset, 1)
	manifest, err := bundle.ReadManifest(folder)
	if err != nil {
		t.Fatal(err)
	}
	nats, admin := testkit.NATS(t), freeAddress(t)
	args = append([]string{"--bundle", folder, "--nats-url", nats.ClientURL(), "--admin-listen", admin}, args...)
	e := &onlyEmbedder{Manifest: manifest, admin: admin, program: start(t, "embedder", build(t, "embedder", true), args...)}
	awaitReady(t, wait, admin)
	e.bus = testkit.Connect(t, nats)
	return e
}

// TestEmbedderInASmallContainer gives the embedder what a container of 512 MiB would:
// with the smallest models and its default slots it starts, embeds, and stays within.
func TestEmbedderInASmallContainer(t *testing.T) {
	const limit = 512 << 20 * 9 / 10
	const videos = 3000
	e := startEmbedder(t, "tiny", 30*time.Second, "--memory-limit", strconv.Itoa(limit))
	testkit.Publish(t, e.bus, testkit.RealVideos(t, videos, e.FrameDim, 32, 1))
	eventually(t, time.Minute, "every video is embedded", func() error {
		info, err := e.bus.ConsumerInfo(t.Context(), event.StreamVideos, "embedder-"+e.Fingerprint)
		if err == nil && info.AckFloor < videos {
			err = fmt.Errorf("%d of %d", info.AckFloor, videos)
		}
		return err
	})
	process, err := procfs.NewProc(e.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	status, err := process.NewStatus()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("at most %d MiB resident of %d", status.VmHWM>>20, limit>>20)
	if status.VmHWM > limit {
		t.Errorf("%d MiB were resident, want at most %d", status.VmHWM>>20, limit>>20)
	}
}
