package trainer

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"videosim/shared/testkit"
	"videosim/shared/torch"
)

// Gates of the published numbers: outputs and losses relative to the largest
// value of a tensor, gradients relative to it with a floor, parameters in
// learning rates.
const (
	valueGate = 1e-5
	gradGate  = 1e-4
	gradFloor = 1e-3
	stepGate  = 0.05
)

// onEngine runs f on an engine of its own, with all tensors freed afterwards.
func onEngine(t *testing.T, f func(s *torch.Scope)) {
	t.Helper()
	engine, err := torch.Start(torch.EngineConfig{Device: "cpu", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	if err := engine.Do(context.Background(), func(s *torch.Scope) error { f(s); return nil }); err != nil {
		t.Fatal(err)
	}
}

func tensorOf(s *torch.Scope, x testkit.Tensor) torch.Tensor {
	if x.DType == "int64" {
		return torch.FromInt64s(s, x.Int64s(), x.Shape...)
	}
	return torch.FromFloat32s(s, x.Float32s(), x.Shape...)
}

// leaf is a copy of x that gets a gradient.
func leaf(s *torch.Scope, x testkit.Tensor) torch.Tensor {
	p := tensorOf(s, x)
	p.SetRequiresGrad(true)
	return p
}

// gradClose compares a gradient with the published one: within the gate of
// the tensor's largest value, or of the floor where all values are tiny.
func gradClose(t *testing.T, name string, got, want []float32) {
	t.Helper()
	top := gradFloor
	for _, w := range want {
		top = max(top, math.Abs(float64(w)))
	}
	for i := range want {
		if diff := math.Abs(float64(got[i]) - float64(want[i])); !(diff <= gradGate*top) {
			t.Errorf("%s[%d]: got %v, want %v", name, i, got[i], want[i])
			return
		}
	}
}

func TestGoldenFocalElements(t *testing.T) {
	x := testkit.Fixture(t, "focal.safetensors")
	for _, c := range []struct{ input, probs, grad, prefix string }{
		{"logits", "prob", "grad_logit", ""},
		{"probs_direct", "probs_direct", "grad_prob", "probs_direct."},
	} {
		for label, y := range map[string]float64{"y0": 0, "y1": 1} {
			onEngine(t, func(s *torch.Scope) {
				in := leaf(s, x.Of(t, c.input))
				p := in
				if c.input == "logits" {
					p = torch.Sigmoid(s, in)
				}
				testkit.Close(t, c.probs, p.Float32s(), x.Of(t, c.probs).Float32s(), valueGate)
				labels := torch.Full(s, y, torch.Float32, torch.CPU, in.Shape()...)
				each := focal(s, p, labels)
				sum := torch.SumAll(s, each)
				sum.Backward()

				name := c.prefix + label
				slack := roundingSlack(p.Float32s(), x.Of(t, c.probs).Float32s())
				for i, want := range x.Of(t, name+".loss_each").Float32s() {
					near(t, fmt.Sprintf("%s.loss_each[%d]", name, i), each.Float32s()[i], valueGate+slack[i], want)
				}
				if want, ok := x[name+".loss_sum_one_call"]; ok {
					testkit.Close(t, name+".loss_sum_one_call", sum.Float32s(), want.Float32s(), valueGate+slices.Max(slack))
				}
				first, second := x.Of(t, name+"."+c.grad).Float32s(), x.Of(t, name+"."+c.grad+"_torch2").Float32s()
				for i, got := range torch.Grad(s, in).Float32s() {
					near(t, fmt.Sprintf("%s.%s[%d]", name, c.grad, i), got, gradGate+slack[i], first[i], second[i])
				}
			})
		}
	}
}

// roundingSlack is by how much, relatively, loss and gradient of an element may
// differ because another build's sigmoid rounded its probability to a
// neighbour: near 0 and 1 the logarithm turns one step into percents.
func roundingSlack(got, want []float32) []float64 {
	slack := make([]float64, len(got))
	for i := range got {
		p, q := float64(got[i]), float64(want[i])
		slack[i] = 2 * math.Abs(p-q) / max(min(p, 1-p), probabilityEps)
	}
	return slack
}

// near accepts any of the published values, of which there are two where the
// two builds of torch that made the fixtures differ: a probability that equals
// a clamp bound exactly passes its gradient in one and not in the other.
func near(t *testing.T, name string, got float32, gate float64, published ...float32) {
	t.Helper()
	for _, want := range published {
		if math.Abs(float64(got)-float64(want)) <= gate*max(gradFloor, math.Abs(float64(want))) {
			return
		}
	}
	t.Errorf("%s: got %v, want one of %v", name, got, published)
}

func TestGoldenTagLoss(t *testing.T) {
	x := testkit.Fixture(t, "focal.safetensors").Under("matrix.")
	onEngine(t, func(s *torch.Scope) {
		logits := leaf(s, x.Of(t, "logits"))
		labels := torch.AsType(s, tensorOf(s, x.Of(t, "labels")), torch.Float32)
		loss := TagLoss(s, torch.Sigmoid(s, logits), labels)
		loss.Backward()
		testkit.Close(t, "loss", loss.Float32s(), x.Of(t, "loss_times_0.001").Float32s(), valueGate)
		gradClose(t, "gradient", torch.Grad(s, logits).Float32s(), x.Of(t, "grad_logits").Float32s())
	})
}

func TestGoldenPairLoss(t *testing.T) {
	fixture := testkit.Fixture(t, "finetune_loss.safetensors")
	cases := prefixes(fixture)
	if len(cases) == 0 {
		t.Fatal("the fixture has no case")
	}
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			x := fixture.Under(name + ".")
			onEngine(t, func(s *torch.Scope) {
				e1, e2 := leaf(s, x.Of(t, "embedding1")), leaf(s, x.Of(t, "embedding2"))
				l := PairLoss(s, e1, e2, tensorOf(s, x.Of(t, "labels")))
				l.Total.Backward()
				for what, got := range map[string]torch.Tensor{
					"normalized1": l.Normalized1, "normalized2": l.Normalized2, "similarity": l.Similarity,
					"sup": l.Supervised, "unsup1": l.Unsupervised1, "unsup2": l.Unsupervised2, "total": l.Total,
				} {
					testkit.Close(t, what, got.Float32s(), x.Of(t, what).Float32s(), valueGate)
				}
				gradClose(t, "grad_embedding1", torch.Grad(s, e1).Float32s(), x.Of(t, "grad_embedding1").Float32s())
				gradClose(t, "grad_embedding2", torch.Grad(s, e2).Float32s(), x.Of(t, "grad_embedding2").Float32s())
			})
		})
	}
}

// prefixes returns what stands before the first dot of the fixture's names.
func prefixes(x testkit.Tensors) []string {
	var out []string
	for name := range x {
		if prefix, _, ok := strings.Cut(name, "."); ok && !slices.Contains(out, prefix) {
			out = append(out, prefix)
		}
	}
	slices.Sort(out)
	return out
}
