//go:build conformance

package gateway

import (
	"cmp"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestConformance lets schemathesis, which reads openapi.json alone, ask
// whatever the document allows and forbids. make conformance runs it, with the
// Python that has schemathesis; SEED=2 asks other things.
func TestConformance(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Timeout = 500 * time.Millisecond })
	r.fill(30)
	r.store(30)
	r.progress.set(math.MaxInt64) // a 504 for a sequence to come is an answer, which schemathesis takes for a failure
	run := exec.CommandContext(t.Context(), os.Getenv("VIDEOSIM_SCHEMATHESIS"), "-m", "schemathesis.cli", "run", r.url+"/openapi.json",
		"--max-examples", "60", "--seed", cmp.Or(os.Getenv("SEED"), "1"), "--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all",
		// testdata/refusals.py takes its place: it knows the rules that fit no schema.
		"--exclude-checks", "positive_data_acceptance")
	hooks, err := filepath.Abs("testdata/refusals.py")
	if err != nil {
		t.Fatal(err)
	}
	run.Env = append(os.Environ(), "SCHEMATHESIS_HOOKS="+hooks)
	run.Dir = t.TempDir() // it leaves a cache behind
	out, err := run.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
