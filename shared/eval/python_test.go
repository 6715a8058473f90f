//go:build python

// Run by `make check-python`: it needs the Python of `deploy/setup.sh python`.

package eval_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// SciPy itself, on cases that nobody has seen before.
func TestSciPyAgreesOnOtherCases(t *testing.T) {
	python := os.Getenv("PYTHON")
	if python == "" {
		python = "../../.deps/python/bin/python"
	}
	answers := filepath.Join(t.TempDir(), "answers.gz")
	out, err := exec.Command(python, "testdata/spearman_cases.py", answers, "2").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: run deploy/setup.sh python\n%s", err, out)
	}
	t.Logf("%s", out)
	compareWithSciPy(t, answers, 2)
}
