package trainer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// several starts the same training as processes that share it, as torchrun
// does.
func several(t *testing.T, cfg TrainConfig, n int) []*exec.Cmd {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	cmds := make([]*exec.Cmd, n)
	for rank := range cmds {
		cmds[rank] = child(t, cfg, "MASTER_ADDR=127.0.0.1", fmt.Sprintf("MASTER_PORT=%d", port),
			fmt.Sprintf("RANK=%d", rank), fmt.Sprintf("LOCAL_RANK=%d", rank), fmt.Sprintf("WORLD_SIZE=%d", n))
		if err := cmds[rank].Start(); err != nil {
			t.Fatal(err)
		}
	}
	return cmds
}

func waitAll(t *testing.T, cmds []*exec.Cmd) {
	t.Helper()
	kill := time.AfterFunc(3*time.Minute, func() {
		for _, cmd := range cmds {
			cmd.Process.Kill()
		}
	})
	defer kill.Stop()
	for rank, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("rank %d: %v\n%s", rank, err, cmd.Stderr)
		}
	}
}

// worldConfig is a run of all stages without dropout, with everything trained
// where a stage can, so that gradients of encoders cross processes.
func worldConfig(t *testing.T, data string) TrainConfig {
	cfg := resumeConfig(t, data)
	none := 0.0
	cfg.Dropout, cfg.CheckpointEvery = &none, time.Hour
	// The published rate: at the tiny preset's, rounding grows past the bound
	// within ten steps when encoders learn, too.
	cfg.FinetuneLate.Freeze, cfg.FinetuneLate.LearningRate = FreezeNone, 3e-4
	return cfg
}

// lossesOf are the losses of all steps of a run, by stage.
func lossesOf(t *testing.T, cfg TrainConfig) map[string][]float64 {
	t.Helper()
	f, err := os.Open(filepath.Join(cfg.Out+".run", "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string][]float64{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var m metric
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if m.Event == "step" {
			out[m.Stage] = append(out[m.Stage], *m.Loss)
		}
	}
	return out
}

// Two processes have the losses of one that takes the same batches alone. A
// last batch with fewer items than processes is no exception.
func TestTwoProcessesLearnAsOne(t *testing.T) {
	data := smallCorpus(t, 90, 100)
	alone, together := worldConfig(t, data), worldConfig(t, data)
	if killAt(t, alone, 1<<30, syscall.SIGKILL) {
		t.Fatal("the run was killed")
	}
	waitAll(t, several(t, together, 2))
	want, got := lossesOf(t, alone), lossesOf(t, together)
	if len(want) != 5 {
		t.Fatalf("losses of %d stages, want 5", len(want))
	}
	for stage, losses := range want {
		if len(got[stage]) != len(losses) || len(losses) < 4 {
			t.Errorf("%s: %d steps, want %d", stage, len(got[stage]), len(losses))
			continue
		}
		for i := range losses {
			if off := math.Abs(got[stage][i]-losses[i]) / losses[i]; !(off <= 1e-5) {
				t.Errorf("%s, step %d: loss %v, alone %v: off by %.1e", stage, i+1, got[stage][i], losses[i], off)
			}
		}
	}
}

// Both processes may be killed and resumed, dropout and all.
func TestTwoProcessesResume(t *testing.T) {
	data := smallCorpus(t, 90, 100)
	whole, broken := resumeConfig(t, data), resumeConfig(t, data)
	whole.CheckpointEvery = time.Hour
	waitAll(t, several(t, whole, 2))
	cmds := several(t, broken, 2)
	for deadline := time.Now().Add(2 * time.Minute); stepsOf(broken) < 15; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no 15 steps in two minutes\n%s\n%s", cmds[0].Stderr, cmds[1].Stderr)
		}
	}
	cmds[1].Process.Kill()
	cmds[1].Wait()
	// The one that is left must notice, not wait for ever.
	if err := cmds[0].Wait(); err == nil {
		t.Fatal("a process went on alone")
	} else if text := cmds[0].Stderr.(*bytes.Buffer).String(); !strings.Contains(text, "error:") {
		t.Errorf("the process that was left says nothing: %s", text)
	}
	broken.Resume = true
	waitAll(t, several(t, broken, 2))
	if bundleOf(t, broken) != bundleOf(t, whole) {
		t.Error("the resumed run ended in another bundle than the unbroken one")
	}
}

// Shares of a batch are its items, each once, in order.
func TestShares(t *testing.T) {
	for _, size := range []int{1, 2, 3, 7} {
		for _, n := range []int{7, 8, 20, 23, 50} {
			var joined []int
			for i := range (shareOf{inOrder(n, 10), 0, size}).Len() {
				var batch []int
				for rank := range size {
					items := shareOf{inOrder(n, 10), rank, size}.Items(i)
					if len(items) == 0 {
						t.Errorf("%d items on %d processes: rank %d has none of batch %d", n, size, rank, i)
					}
					batch = append(batch, items...)
				}
				joined = append(joined, batch...)
			}
			if want := inOrder(n, n).Items(0); !slices.Equal(joined, want) {
				t.Errorf("%d items on %d processes: %v", n, size, joined)
			}
		}
	}
}
