package trainer

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"videosim/shared/testkit"
	"videosim/shared/torch"
)

const (
	curveGate  = 1e-4 // of each of the ten losses, relative
	python     = "../.deps/python/bin/python"
	tenStepsPy = "testdata/reference/ten_steps.py"
)

// Ten steps of every stage on the golden inputs follow the curve that plain
// PyTorch computes (testdata/reference/ten_steps.py, which checks itself
// against the five published losses).
func TestGoldenTenSteps(t *testing.T) {
	committed, err := os.ReadFile(filepath.Join("testdata", "ten_steps.json"))
	if err != nil {
		t.Fatal(err)
	}
	curves := readCurves(t, committed)
	if !ofThisSet(t, curves) {
		curves = computeCurves(t)
	}
	for file, want := range curves {
		t.Run(file, func(t *testing.T) {
			onEngine(t, func(s *torch.Scope) {
				g, net := openGolden(t, s, file)
				batches := g.batches()
				for k, w := range want {
					g.step = k + 1 // never 0: TestGoldenTrain… compares what the first step makes
					total, _ := net.loss(g, batches[k%len(batches)])
					if got := total.Item(); !(math.Abs(got-w) <= curveGate*math.Abs(w)) {
						t.Errorf("step %d: loss %v, want %v", k, got, w)
					}
					total.Backward()
					g.opt.Step(s)
				}
			})
		})
	}
}

func readCurves(t *testing.T, data []byte) map[string][]float64 {
	t.Helper()
	var file struct {
		Losses map[string][]float64 `json:"losses"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Losses) != len(goldenNets) {
		t.Fatalf("there are curves of %d stages, expected %d", len(file.Losses), len(goldenNets))
	}
	for name, losses := range file.Losses {
		if len(losses) != 10 {
			t.Fatalf("the curve of %s has %d losses", name, len(losses))
		}
	}
	return file.Losses
}

// ofThisSet reports whether the curves begin as the fixtures in use do, rather
// than those of another GOLDEN_DIR.
func ofThisSet(t *testing.T, curves map[string][]float64) bool {
	for file, losses := range curves {
		for k, want := range publishedLosses(t, file) {
			if !(math.Abs(losses[k]-want) <= 1e-5*math.Abs(want)) {
				return false
			}
		}
	}
	return true
}

func publishedLosses(t *testing.T, file string) (losses []float64) {
	for _, l := range testkit.Fixture(t, file).Of(t, "train.loss_per_step").Float32s() {
		losses = append(losses, float64(l))
	}
	return losses
}

// computeCurves runs the script on the fixtures in use. Without its Python
// there are only the published losses, of fewer steps.
func computeCurves(t *testing.T) map[string][]float64 {
	cmd := exec.Command(python, tenStepsPy, testkit.GoldenDir(t))
	cmd.Stderr = os.Stderr
	data, err := cmd.Output()
	if err == nil {
		return readCurves(t, data)
	}
	t.Logf("only the published steps of this set are compared: %s, which deploy/setup.sh python makes: %v", python, err)
	curves := map[string][]float64{}
	for file := range goldenNets {
		curves[file] = publishedLosses(t, file)
	}
	return curves
}
