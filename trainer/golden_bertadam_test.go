package trainer

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"videosim/shared/testkit"
	"videosim/shared/torch"
)

// adamCase is one toy problem as the manifest describes it.
type adamCase struct {
	LR          float64            `json:"lr"`
	Warmup      float64            `json:"warmup"`
	TTotal      int                `json:"t_total"`
	Steps       int                `json:"steps"`
	WeightDecay map[string]float64 `json:"weight_decay"`
	B1          float64            `json:"b1"`
	B2          float64            `json:"b2"`
	Epsilon     float64            `json:"e"`
	ClipNorm    float64            `json:"max_grad_norm"`
}

// The optimiser alone, on a toy problem: losses, gradients, parameters and
// moments of every step.
func TestGoldenBertAdam(t *testing.T) {
	fixture := testkit.Fixture(t, "bertadam.safetensors")
	var cases map[string]adamCase
	testkit.ReadManifest(t).File(t, "bertadam.safetensors").Decode(t, "cases", &cases)
	if len(cases) == 0 {
		t.Fatal("the manifest describes no case")
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			assertConstants(t, c.B1, c.B2, c.Epsilon, c.ClipNorm)
			onEngine(t, func(s *torch.Scope) { stepThrough(t, s, c, fixture.Under(name+".")) })
		})
	}
}

func assertConstants(t *testing.T, b1, b2, eps, clipNorm float64) {
	t.Helper()
	if b1 != adamBeta1 || b2 != adamBeta2 || eps != adamEps || clipNorm != maxGradNorm {
		t.Fatalf("the fixture was made with b1 %v, b2 %v, e %v, clip %v; the optimiser has %v, %v, %v, %v",
			b1, b2, eps, clipNorm, adamBeta1, adamBeta2, adamEps, maxGradNorm)
	}
}

func stepThrough(t *testing.T, s *torch.Scope, c adamCase, x testkit.Tensors) {
	schedule := Schedule{Peak: c.LR, Warmup: c.Warmup, Total: c.TTotal}
	opt := NewBertAdam(s, schedule)
	params := make(map[string]torch.Tensor)
	for name, decay := range c.WeightDecay {
		if decay != 0 && decay != weightDecay {
			t.Fatalf("%s: decay %v, the optimiser has %v", name, decay, weightDecay)
		}
		params[name] = leaf(s, x.Of(t, "init."+name))
		opt.Add(name, params[name], decay != 0)
	}
	factors := x.Of(t, "steps.mult").Float64s()
	for k := range c.Steps {
		if got := schedule.Rate(k) / c.LR; math.Abs(got-factors[k]) > 1e-12 {
			t.Errorf("step %d: rate factor %v, want %v", k, got, factors[k])
		}
		loss := toyLoss(t, s, x, params)
		testkit.Close(t, fmt.Sprintf("step %d, loss", k), []float32{float32(loss)}, row(x.Of(t, "steps.loss"), k), valueGate)
		checkToyGradients(t, s, x, params, k)
		opt.Step(s)
		for name, p := range params {
			at := fmt.Sprintf("step %d, %s", k, name)
			testkit.Close(t, at, p.Float32s(), row(x.Of(t, "steps."+name), k), valueGate)
		}
		for _, slot := range opt.slots {
			if _, trained := x["steps.m_"+slot.name]; !trained {
				if slot.mean.Defined() || slot.steps != 0 {
					t.Fatalf("%s has moments but never had a gradient", slot.name)
				}
				continue
			}
			testkit.Close(t, fmt.Sprintf("step %d, m of %s", k, slot.name), slot.mean.Float32s(), row(x.Of(t, "steps.m_"+slot.name), k), valueGate)
			testkit.Close(t, fmt.Sprintf("step %d, v of %s", k, slot.name), slot.meanSquare.Float32s(), row(x.Of(t, "steps.v_"+slot.name), k), valueGate)
		}
	}
}

// toyLoss is the manifest's formula, 0.5·ΣA(a−target)² + 0.5·Σ(b−target)² +
// 1e-4·Σsin c, and sends its gradients back.
func toyLoss(t *testing.T, s *torch.Scope, x testkit.Tensors, params map[string]torch.Tensor) float64 {
	t.Helper()
	square := func(name string) torch.Tensor {
		miss := torch.Sub(s, params[name], tensorOf(s, x.Of(t, name+"_target")))
		return torch.Mul(s, miss, miss)
	}
	curved := torch.SumAll(s, torch.Mul(s, tensorOf(s, x.Of(t, "A")), square("a")))
	squares := torch.MulScalar(s, torch.Add(s, curved, torch.SumAll(s, square("b"))), 0.5)
	squares.Backward()

	// The engine has no sine; Σ c·cos(c), the cosine held fixed, has its gradient.
	sum, slope := 0.0, params["c"].Float32s()
	for i, c := range slope {
		sum += math.Sin(float64(c))
		slope[i] = float32(1e-4 * math.Cos(float64(c)))
	}
	torch.SumAll(s, torch.Mul(s, params["c"], torch.FromFloat32s(s, slope, params["c"].Shape()...))).Backward()
	return squares.Item() + 1e-4*sum
}

// checkToyGradients compares gradients and their norms before clipping; a
// parameter without a published one has none.
func checkToyGradients(t *testing.T, s *torch.Scope, x testkit.Tensors, params map[string]torch.Tensor, k int) {
	t.Helper()
	for name, p := range params {
		grad := torch.Grad(s, p)
		stored, trained := x["steps.grad_"+name]
		if grad.Defined() != trained {
			t.Fatalf("step %d, %s: has a gradient: %v, want %v", k, name, grad.Defined(), trained)
		}
		if trained {
			gradClose(t, fmt.Sprintf("step %d, gradient of %s", k, name), grad.Float32s(), row(stored, k))
			testkit.Close(t, fmt.Sprintf("step %d, norm of %s", k, name), torch.NormAll(s, grad).Float32s(), row(x.Of(t, "steps.norm_"+name), k), gradGate)
		}
	}
}

// row returns the values of entry k of the first axis.
func row(x testkit.Tensor, k int) []float32 {
	values := x.Float32s()
	n := len(values) / int(x.Shape[0])
	return slices.Clone(values[k*n : (k+1)*n])
}

func TestGoldenDecayRule(t *testing.T) {
	m := testkit.ReadManifest(t)
	checked := 0
	for name, entry := range m.Files {
		if entry[0] != '{' { // described in a sentence
			continue
		}
		opt := m.File(t, name).Optimizer
		if opt == nil {
			continue
		}
		for decays, params := range map[bool][]string{true: opt.Decayed, false: opt.Undecayed} {
			for _, p := range params {
				checked++
				if Decays(p) != decays {
					t.Errorf("%s: %s: decays %v, want %v", name, p, Decays(p), decays)
				}
			}
		}
	}
	if checked == 0 {
		t.Fatal("the manifest lists no parameter")
	}
}

// The optimiser's two forms, in one pass and by parts, agree.
func TestBertAdamByParts(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		torch.Seed(torch.CPU, 1)
		slot := func() *adamSlot {
			return &adamSlot{mean: torch.Zeros(s, torch.Float32, torch.CPU, 40, 30), meanSquare: torch.Zeros(s, torch.Float32, torch.CPU, 40, 30)}
		}
		one, parts := slot(), slot()
		one.param = torch.Empty(s, torch.Float32, torch.CPU, 40, 30)
		one.param.Normal(0, 1)
		parts.param = torch.AddScalar(s, one.param, 0)
		grad := torch.Empty(s, torch.Float32, torch.CPU, 40, 30)
		for step := range 5 {
			grad.Normal(0, 0.1)
			a := torch.AdamSettings{Beta1: adamBeta1, Beta2: adamBeta2, Eps: adamEps, MaxNorm: maxGradNorm, Rate: 0.01 * float64(step), Decay: weightDecay}
			one.param.AdamStep(grad, one.mean, one.meanSquare, a)
			parts.stepByParts(s, torch.AddScalar(s, grad, 0), a)
			name := fmt.Sprintf("step %d, ", step)
			testkit.Close(t, name+"parameters", one.param.Float32s(), parts.param.Float32s(), 1e-6)
			testkit.Close(t, name+"means", one.mean.Float32s(), parts.mean.Float32s(), 1e-6)
			testkit.Close(t, name+"squares", one.meanSquare.Float32s(), parts.meanSquare.Float32s(), 1e-6)
		}
	})
}
