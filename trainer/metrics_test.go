package trainer

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"videosim/shared/errs"
	"videosim/trainer/tfevents"
)

// interruptedRun writes what a run leaves that was killed in its second stage
// after a checkpoint, and was resumed from there. It returns the work folder.
func interruptedRun(t *testing.T) string {
	t.Helper()
	work := t.TempDir()
	l := mustOpenMetrics(t, work, 0)
	mustWrite(t, l, metric{Event: "split", TrainPairs: 9, HeldOutPairs: 3})
	writeSteps(t, l, "pretrain text", 1, 60, 0)
	mustWrite(t, l, metric{Event: "epoch", Stage: "pretrain text", Epoch: 1, Step: 60, Loss: finite(1), Spearman: finite(0.4), Best: true})
	writeSteps(t, l, "finetune late", 1, 20, 0)
	mark := l.size()
	writeSteps(t, l, "finetune late", 21, 50, 100) // lost
	writeSteps(t, l, "finetune early", 1, 5, 100)  // lost
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l = mustOpenMetrics(t, work, mark)
	writeSteps(t, l, "finetune late", 21, 40, 0)
	mustWrite(t, l, metric{Event: "epoch", Stage: "finetune late", Epoch: 2, Step: 40, Loss: finite(0.5), Spearman: finite(math.NaN())})
	writeSteps(t, l, "finetune early", 1, 3, 0)
	mustWrite(t, l, metric{Event: "calibration", Stage: "ensemble", Spearman: finite(0.7)})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return work
}

func mustOpenMetrics(t *testing.T, work string, keep int64) *metricsLog {
	t.Helper()
	l, err := openMetrics(work, keep)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustWrite(t *testing.T, l *metricsLog, m metric) {
	t.Helper()
	if err := l.write(m); err != nil {
		t.Fatal(err)
	}
}

func writeSteps(t *testing.T, l *metricsLog, stage string, from, to int, shift float64) {
	t.Helper()
	for step := from; step <= to; step++ {
		x := shift + 1/float64(step)
		mustWrite(t, l, metric{Event: "step", Stage: stage, Epoch: 1, Step: step, Loss: &x, Supervised: finite(x / 2),
			Unsupervised: finite(x / 3), LearningRate: finite(1e-5 * x), Rate: finite(100 + x)})
	}
}

// What an interrupted run wrote after its checkpoint is gone from the log of
// the resumed one.
func TestResumedMetrics(t *testing.T) {
	work := interruptedRun(t)
	lines, err := readMetricsLog(work)
	if err != nil {
		t.Fatal(err)
	}
	steps := map[string][]int{}
	for _, m := range lines {
		if m.Loss != nil && *m.Loss >= 100 {
			t.Errorf("a lost line is still there: %+v", m)
		}
		if m.Event == "step" {
			steps[m.Stage] = append(steps[m.Stage], m.Step)
		}
	}
	for stage, n := range map[string]int{"pretrain text": 60, "finetune late": 40, "finetune early": 3} {
		if len(steps[stage]) != n || !slices.IsSorted(steps[stage]) || len(slices.Compact(steps[stage])) != n {
			t.Errorf("%s has steps %v, want 1 to %d", stage, steps[stage], n)
		}
	}
	for folder, n := range map[string]int{"pretrain-text": 2, "finetune-late": 2, "finetune-early": 2, "ensemble": 1} {
		if files, err := tfevents.Files(filepath.Join(work, eventsFolder, folder)); err != nil || len(files) != n {
			t.Errorf("%s has the event files %v (%v), want %d", folder, files, err, n)
		}
	}
}

func TestMetricsStartAnew(t *testing.T) {
	work := interruptedRun(t)
	l := mustOpenMetrics(t, work, 0)
	if n := l.size(); n != 0 {
		t.Errorf("a new log begins with %d bytes", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if lines, err := readMetricsLog(work); err != nil || len(lines) != 0 {
		t.Errorf("%d lines are left (%v)", len(lines), err)
	}
	if files, err := tfevents.Files(filepath.Join(work, eventsFolder, "pretrain-text")); err != nil || len(files) != 0 {
		t.Errorf("event files are left: %v (%v)", files, err)
	}
}

// A log that is shorter than the mark goes on at its last whole line; one with
// a line that is no metric is refused.
func TestDamagedMetrics(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		lines   int
		kind    errs.Kind
	}{
		"cut short":  {`{"event":"step","stage":"a","step":4}` + "\n" + `{"event":"st`, 2, 0},
		"not a line": {"<html>\n", 0, errs.Corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			work := t.TempDir()
			if err := os.WriteFile(filepath.Join(work, metricsFile), []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
			l, err := openMetrics(work, 1<<20)
			if c.kind != 0 {
				if errs.KindOf(err) != c.kind {
					t.Errorf("err = %v, want kind %v", err, c.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, l, metric{Event: "step", Stage: "a", Step: 5})
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if lines, err := readMetricsLog(work); err != nil || len(lines) != c.lines {
				t.Errorf("%d lines (%v), want %d", len(lines), err, c.lines)
			}
		})
	}
}

func TestMetricsLeaveOutWhatJSONHasNoWordFor(t *testing.T) {
	work := t.TempDir()
	l := mustOpenMetrics(t, work, 0)
	l.now = func() time.Time { return time.Unix(0, 0) }
	mustWrite(t, l, metric{Event: "epoch", Spearman: finite(math.NaN()), Loss: finite(0)})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(work, metricsFile))
	if want := `{"time":"1970-01-01T00:00:00Z","event":"epoch","loss":0}` + "\n"; err != nil || string(data) != want {
		t.Errorf("line %s (%v), want %s", data, err, want)
	}
}
