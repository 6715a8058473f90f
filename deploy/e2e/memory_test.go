package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"videosim/shared/bundle"
	"videosim/shared/event"
	"videosim/shared/testkit"
	"videosim/shared/testkit/tinybundle"
)

// TestEmbedderInASmallContainer gives the embedder what a container of 512 MiB would:
// with the smallest models and its default slots it starts, embeds, and stays within.
func TestEmbedderInASmallContainer(t *testing.T) {
	const limit = 512 << 20 * 9 / 10
	const videos = 3000
	folder := filepath.Join(t.TempDir(), "bundle")
	fingerprint := tinybundle.WritePreset(t, folder, "tiny", 1)
	manifest, err := bundle.ReadManifest(folder)
	if err != nil {
		t.Fatal(err)
	}
	nats := testkit.NATS(t)
	admin := freeAddress(t)
	embedder := start(t, "embedder", build(t, "embedder", true), "--bundle", folder, "--nats-url", nats.ClientURL(),
		"--admin-listen", admin, "--memory-limit", strconv.Itoa(limit))
	awaitReady(t, 30*time.Second, admin)
	b := testkit.Connect(t, nats)
	testkit.Publish(t, b, testkit.RealVideos(t, videos, manifest.FrameDim, 32, 1))
	eventually(t, time.Minute, "every video is embedded", func() error {
		info, err := b.ConsumerInfo(t.Context(), event.StreamVideos, "embedder-"+fingerprint)
		if err == nil && info.AckFloor < videos {
			err = fmt.Errorf("%d of %d", info.AckFloor, videos)
		}
		return err
	})
	process, err := procfs.NewProc(embedder.cmd.Process.Pid)
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
