package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"videosim/shared/errs"
	"videosim/shared/service"
)

// childConfig is the environment variable by which the test's own binary runs
// a training of its own, to be killed.
const childConfig = "TRAINER_TEST_CONFIG"

// childFileLimit is the largest file in bytes that the child may write.
const childFileLimit = "TRAINER_TEST_FILE_LIMIT"

func TestMain(m *testing.M) {
	if config := os.Getenv(childConfig); config != "" {
		os.Exit(runChild(config))
	}
	os.Exit(m.Run())
}

// runChild trains as the program trainer does: a signal ends it, in good order.
func runChild(config string) int {
	var cfg TrainConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if limit := os.Getenv(childFileLimit); limit != "" {
		var bytes uint64
		fmt.Sscan(limit, &bytes)
		signal.Ignore(syscall.SIGXFSZ) // a write beyond the limit fails, like one to a full disk
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: bytes}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	result, err := Train(ctx, cfg, service.NewEnv(service.LogConfig{Level: "warn", Format: "text"}, nil, os.Stdout, os.Stderr))
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	fmt.Println(result.Fingerprint)
	return 0
}

// child is the command for a training in a process of its own.
func child(t *testing.T, cfg TrainConfig, env ...string) *exec.Cmd {
	t.Helper()
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childConfig+"="+string(config)), env...)
	cmd.Stderr = new(bytes.Buffer)
	return cmd
}

// resumeConfig is a run of all five stages in a few seconds, with dropout, so
// that the random numbers matter, and a line of metrics a step.
func resumeConfig(t *testing.T, data string) TrainConfig {
	cfg := smallConfig(t, data)
	drop := 0.1
	cfg.Dropout, cfg.LogEvery, cfg.CheckpointEvery = &drop, 1, time.Millisecond
	for _, s := range []*StageConfig{&cfg.PretrainText, &cfg.PretrainVideo, &cfg.PretrainCross} {
		s.Epochs, s.Batch = 2, 16
	}
	cfg.FinetuneLate = StageConfig{Epochs: 2, Batch: 16, FrozenMode: FrozenTrain}
	cfg.FinetuneEarly = StageConfig{Epochs: 2, Batch: 16, FrozenMode: FrozenEval}
	return cfg
}

// stepsOf counts the lines of a run's metrics that are steps.
func stepsOf(cfg TrainConfig) int {
	data, err := os.ReadFile(filepath.Join(cfg.Out+".run", "metrics.jsonl"))
	if err != nil {
		return 0
	}
	return bytes.Count(data, []byte(`"event":"step"`))
}

// killAt starts the training and kills it when its metrics have that many
// steps. It reports whether the run was still going.
func killAt(t *testing.T, cfg TrainConfig, steps int, sig syscall.Signal) bool {
	t.Helper()
	cmd := child(t, cfg)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(2 * time.Minute)
	for stepsOf(cfg) < steps {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("the run failed by itself: %v\n%s", err, cmd.Stderr)
			}
			return false
		case <-deadline:
			cmd.Process.Kill()
			t.Fatal("the run did not get that far in two minutes")
		case <-time.After(time.Millisecond):
		}
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-ended
	return true
}

// bundleOf are the bytes of a run's bundle that training decides.
func bundleOf(t *testing.T, cfg TrainConfig) string {
	t.Helper()
	var all []string
	for _, name := range []string{"config.json", "late.safetensors", "early.safetensors"} {
		data, err := os.ReadFile(filepath.Join(cfg.Out, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(data))
	}
	return strings.Join(all, "")
}

// metricsOf are the lines of a run's metrics without what the clock decides.
func metricsOf(t *testing.T, cfg TrainConfig) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cfg.Out+".run", "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range bytes.Lines(data) {
		var m metric
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		m.Time, m.Rate, m.Wait = time.Time{}, nil, nil
		plain, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(plain, '\n'))
	}
	return out.String()
}

// However a run was broken off, resumed it ends bit for bit where the unbroken
// one does.
func TestResumeEqualsAnUnbrokenRun(t *testing.T) {
	data := smallCorpus(t, 90, 100)
	whole := resumeConfig(t, data)
	if killAt(t, whole, 1<<30, syscall.SIGKILL) {
		t.Fatal("the whole run was killed")
	}
	t.Run("killed at ten random steps", func(t *testing.T) { killAtRandomSteps(t, data, whole) })
	t.Run("killed during a checkpoint write", func(t *testing.T) { killDuringWrites(t, data, whole) })
	t.Run("on a full disk", func(t *testing.T) { fillTheDisk(t, data, whole) })
}

// killAtRandomSteps kills a run whatever it is doing; its metrics, too, are
// the unbroken run's in the end.
func killAtRandomSteps(t *testing.T, data string, whole TrainConfig) {
	total := stepsOf(whole)
	broken := resumeConfig(t, data)
	broken.Resume = true
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	kills := 0
	for k := 1; k <= 10; k++ {
		at := (k-1)*total/10 + 1 + rng.IntN(total/10) // one in every tenth of the run
		if stepsOf(broken) >= at {
			continue
		}
		t.Logf("kill %d at step %d of %d", k, at, total)
		if killAt(t, broken, at, syscall.SIGKILL) {
			kills++
		}
	}
	if kills < 8 {
		t.Errorf("the run was killed %d times only, of 10", kills)
	}
	if killAt(t, broken, 1<<30, syscall.SIGKILL) {
		t.Fatal("the last run was killed")
	}
	if bundleOf(t, broken) != bundleOf(t, whole) {
		t.Error("the resumed run ended in another bundle than the unbroken one")
	}
	if got, want := metricsOf(t, broken), metricsOf(t, whole); got != want {
		t.Errorf("the metrics differ:\n%s\nunbroken:\n%s", got, want)
	}
	if _, err := os.Stat(filepath.Join(broken.Out+".run", "checkpoint")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the finished run left its checkpoints: %v", err)
	}
}

// killDuringWrites kills a run while it writes a checkpoint; the one before
// must do.
func killDuringWrites(t *testing.T, data string, whole TrainConfig) {
	broken := resumeConfig(t, data)
	path := filepath.Join(broken.Out+".run", "checkpoint", currentName)
	broken.Resume = true
	caught := 0
	for attempt := 0; caught < 3 && attempt < 20; attempt++ {
		if killDuring(t, broken, path+".new", 3+5*attempt) {
			caught++
		}
	}
	if caught == 0 {
		t.Fatal("no kill of twenty hit a checkpoint half written")
	}
	if killAt(t, broken, 1<<30, syscall.SIGKILL) || bundleOf(t, broken) != bundleOf(t, whole) {
		t.Error("the resumed run did not end in the unbroken run's bundle")
	}
}

// killDuring kills the training while a file is being written, once there are
// that many steps, and reports whether the file was left behind.
func killDuring(t *testing.T, cfg TrainConfig, path string, steps int) bool {
	t.Helper()
	cmd := child(t, cfg)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 && stepsOf(cfg) >= steps {
			break
		}
		select {
		case <-ended:
			return false
		default:
		}
	}
	cmd.Process.Kill()
	<-ended
	_, err := os.Stat(path)
	return err == nil
}

// A run that is asked to stop writes a checkpoint of that very step.
func TestTerminatedRunLosesNoStep(t *testing.T) {
	cfg := resumeConfig(t, smallCorpus(t, 90, 100))
	cfg.CheckpointEvery = time.Hour
	if !killAt(t, cfg, 3, syscall.SIGTERM) {
		t.Fatal("the run ended before it was stopped")
	}
	done := stepsOf(cfg)
	cfg.Resume = true
	r, err := openRun(context.Background(), cfg.withPreset(), service.NewTestEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	var state stageState
	f, err := r.checkpoints.read(currentName, &state)
	if err != nil || f == nil {
		t.Fatal("no checkpoint:", err)
	}
	defer f.Close()
	if state.Step != done {
		t.Errorf("the checkpoint is of step %d, the run was stopped after step %d", state.Step, done)
	}
}

// fillTheDisk makes checkpoints fail half-way, as on a full disk: the last one
// stays, and is of use once there is room.
func fillTheDisk(t *testing.T, data string, whole TrainConfig) {
	cfg := resumeConfig(t, data)
	if !killAt(t, cfg, 3, syscall.SIGKILL) {
		t.Fatal("the run ended before it was killed")
	}
	path := filepath.Join(cfg.Out+".run", "checkpoint", currentName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Resume = true
	full := child(t, cfg, fmt.Sprintf("%s=%d", childFileLimit, len(before)/2))
	if err := full.Run(); err == nil || !strings.Contains(full.Stderr.(*bytes.Buffer).String(), "file too large") {
		t.Fatalf("the run on the full disk: %v\n%s", err, full.Stderr)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Fatalf("the last checkpoint changed: %v", err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a checkpoint keeps the disk full: %v", err)
	}
	if killAt(t, cfg, 1<<30, syscall.SIGKILL) || bundleOf(t, cfg) != bundleOf(t, whole) {
		t.Error("once there was room, the run did not end in the unbroken run's bundle")
	}
}

// A resumed run must be the same run.
func TestResumeRefusesOtherSettings(t *testing.T) {
	cfg := resumeConfig(t, smallCorpus(t, 90, 100))
	if !killAt(t, cfg, 2, syscall.SIGKILL) {
		t.Fatal("the run ended before it was killed")
	}
	cfg.Resume = true
	cfg.FinetuneLate.LearningRate, cfg.Seed = 0.5, 9
	_, err := Train(context.Background(), cfg, service.NewTestEnv(t))
	if errs.KindOf(err) != errs.Invalid {
		t.Fatalf("err = %v, want kind invalid", err)
	}
	for _, want := range []string{"finetune-late-learning-rate: expected 0.002, found 0.5", "seed: expected 1, found 9"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message does not say %q: %v", want, err)
		}
	}
}
