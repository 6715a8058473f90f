//go:build python

// Run by `make check-python`: it needs the Python of `deploy/setup.sh python`.

package trainer

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TensorBoard itself reads the event files, and finds the scalars of
// metrics.jsonl and none that were lost in the interruption.
func TestTensorBoardOpensTheEventFiles(t *testing.T) {
	out, err := exec.Command(pythonPath(t), "testdata/check_tensorboard.py", interruptedRun(t)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// pythonPath is $PYTHON, or the interpreter that deploy/setup.sh makes.
func pythonPath(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("PYTHON"); path != "" {
		return path
	}
	path, err := exec.LookPath(filepath.Join("..", ".deps", "python", "bin", "python"))
	if err != nil {
		t.Fatalf("%v: run deploy/setup.sh python", err)
	}
	return path
}
