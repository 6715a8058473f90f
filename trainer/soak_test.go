//go:build soak

package trainer

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"videosim/shared/video"
)

// soakDir names the corpus that a child process loads.
const soakDir = "VIDEOSIM_SOAK_CORPUS"

// The peak of a process that opens a corpus for the first time and loads an
// epoch of it is the same for 10,000 videos and for 100,000.
func TestSoakMemory(t *testing.T) {
	peak := make(map[int]int)
	for _, videos := range []int{10_000, 100_000} {
		cfg, err := video.SynthPreset("tiny", videos, 3000, 1)
		if err != nil {
			t.Fatal(err)
		}
		cfg.FrameDim = 64
		dir := filepath.Join(t.TempDir(), "corpus")
		if err := video.Synthesize(dir, cfg, nil); err != nil {
			t.Fatal(err)
		}
		for _, start := range []string{"first", "next"} {
			kB := childPeak(t, dir)
			t.Logf("%d videos, %s start: peak %d kB", videos, start, kB)
			peak[videos] = max(peak[videos], kB)
		}
	}
	// Six bytes of a hundred a record, in kB, and what two runs of one size
	// differ by (a tenth).
	if small, large := peak[10_000], peak[100_000]; large > small+small/10 {
		t.Errorf("peak %d kB with 100,000 videos, %d kB with 10,000", large, small)
	}
}

// childPeak runs TestSoakEpoch over dir in a process of its own and returns the
// most memory that it ever had resident.
func childPeak(t *testing.T, dir string) (kB int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestSoakEpoch$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), soakDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	for lines.Scan() {
		if _, figure, ok := strings.Cut(lines.Text(), "VmHWM:"); ok {
			fmt.Sscanf(figure, "%d", &kB)
		}
	}
	if kB == 0 {
		t.Fatalf("no peak in the child's output:\n%s", out)
	}
	return kB
}

// TestSoakEpoch opens the corpus that the environment names, or a small one of
// its own, loads an epoch and says what the most resident memory was.
func TestSoakEpoch(t *testing.T) {
	dir := os.Getenv(soakDir)
	if dir == "" {
		dir = smallCorpus(t, 200, 200)
	}
	c, err := openCorpus(context.Background(), TrainConfig{Data: dir, Out: filepath.Join(dir, "..", "bundle"), Preset: "tiny", HeldOut: 0.1, Seed: 1}.withPreset())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	loaded, _ := epochOver(t, c, 2, func(int) {})
	if loaded != c.pretrainCount() {
		t.Errorf("%d videos loaded of %d", loaded, c.pretrainCount())
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			fmt.Print("\n", line)
		}
	}
}
