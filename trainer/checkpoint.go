package trainer

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/errs"
)

// checkpoints is the folder that a run can be resumed from:
//
//	run.json                 what decides the run; a resumed one must agree
//	<stage>.safetensors      a finished stage: the weights of its best epoch
//	current.safetensors      the stage in progress: weights, moments, counts, random numbers
//	best-<epoch>.safetensors the weights of its best epoch so far
//	towers-*                 outputs of frozen encoders
//
// Every file is replaced as a whole, so whatever moment a run dies at, the
// folder is that of an earlier moment. It is removed when the bundle is there.
type checkpoints struct {
	dir   string
	run   string // which run the files belong to
	every time.Duration
	last  time.Time // of the last checkpoint
}

// runFile is run.json.
type runFile struct {
	Run       string            `json:"run"` // made up when the run began
	Data      string            `json:"data_digest"`
	Processes int               `json:"processes"`
	Settings  map[string]string `json:"settings"` // by flag; those that change the outcome
}

const (
	runName     = "run.json"
	currentName = "current.safetensors"
)

// openCheckpoints starts a folder anew, or, to resume, goes on with the one
// that is there, if it belongs to the same run.
func openCheckpoints(dir string, want runFile, resume bool, every time.Duration) (*checkpoints, error) {
	c := &checkpoints{dir: dir, every: every, last: time.Now()}
	if resume {
		if found, err := c.join(want); found || err != nil {
			return c, err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("remove old checkpoints: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the checkpoint folder: %w", err)
	}
	want.Run = rand.Text()
	c.run = want.Run
	data, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", runName, err)
	}
	return c, writeFile(c.path(runName), bytesOf(append(data, '\n')))
}

// join reads run.json and compares it with what this run would write.
func (c *checkpoints) join(want runFile) (found bool, err error) {
	path := filepath.Join(c.dir, runName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var have runFile
	if err := json.Unmarshal(data, &have); err != nil {
		return false, errs.New(errs.Corrupt, "%s: %w", path, err)
	}
	c.run = have.Run
	return true, have.agrees(want)
}

// agrees lists every setting in which a resumed run differs.
func (have runFile) agrees(want runFile) error {
	var differ []string
	note := func(name, was, is string) {
		if was != is {
			differ = append(differ, fmt.Sprintf("%s: expected %s, found %s", name, was, is))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.Settings)) {
		note(name, have.Settings[name], want.Settings[name])
	}
	note("data digest", have.Data, want.Data)
	note("processes", fmt.Sprint(have.Processes), fmt.Sprint(want.Processes))
	if len(differ) == 0 {
		return nil
	}
	return errs.New(errs.Invalid, "resume: the checkpoint was made with other settings or data (train without --resume to start anew): %s", strings.Join(differ, "; "))
}

// due reports whether it is time for a checkpoint inside an epoch.
func (c *checkpoints) due() bool { return time.Since(c.last) >= c.every }

func (c *checkpoints) path(name string) string { return filepath.Join(c.dir, name) }

// write replaces one file of tensors. state goes into its header.
func (c *checkpoints) write(name string, state any, tensors []bundle.SourceTensor) error {
	text, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode the checkpoint: %w", err)
	}
	metadata := map[string]string{"run": c.run, "state": string(text)}
	if err := bundle.ReplaceSafetensors(c.path(name), metadata, tensors); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

// read opens a file that write made and decodes its state. Without the file,
// or with one of another run, it returns nil.
func (c *checkpoints) read(name string, state any) (*bundle.TensorFile, error) {
	f, err := bundle.OpenSafetensors(c.path(name))
	if errs.KindOf(err) == errs.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if f.Metadata["run"] != c.run {
		return nil, f.Close()
	}
	if err := json.Unmarshal([]byte(f.Metadata["state"]), state); err != nil {
		return nil, errors.Join(errs.New(errs.Corrupt, "%s: state: %w", f.Path, err), f.Close())
	}
	return f, nil
}

// forget removes all files of a pattern but one.
func (c *checkpoints) forget(pattern, keep string) error {
	names, err := fs.Glob(os.DirFS(c.dir), pattern)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != keep {
			err = errors.Join(err, os.Remove(c.path(name)))
		}
	}
	return err
}

// remove deletes the folder, when it is of no more use.
func (c *checkpoints) remove() error { return os.RemoveAll(c.dir) }

// deciding are the settings that change the outcome of a run, by flag. Data
// and bundle are compared by content.
func (c TrainConfig) deciding(device, precision, from string) map[string]string {
	out := map[string]string{
		"preset": c.Preset, "seed": fmt.Sprint(c.Seed), "held-out": fmt.Sprint(c.HeldOut), "from": from,
		"device": device, "precision": precision, "threads": fmt.Sprint(c.Threads), "micro-batch": fmt.Sprint(c.MicroBatch),
		"attend-padding-frames": fmt.Sprint(c.AttendPaddingFrames), "literal-special-tokens": c.LiteralSpecialTokens,
		"dropout": "the preset's",
	}
	if c.Dropout != nil {
		out["dropout"] = fmt.Sprint(*c.Dropout)
	}
	for _, s := range c.stages() {
		out[s.prefix+"-learning-rate"] = fmt.Sprint(s.cfg.LearningRate)
		out[s.prefix+"-epochs"] = fmt.Sprint(s.cfg.Epochs)
		out[s.prefix+"-batch"] = fmt.Sprint(s.cfg.Batch)
		out[s.prefix+"-warmup"] = fmt.Sprint(s.cfg.Warmup)
		out[s.prefix+"-freeze"] = s.cfg.Freeze
		out[s.prefix+"-frozen-mode"] = s.cfg.FrozenMode
	}
	return out
}
