package trainer

import (
	"math"
	"testing"

	"videosim/shared/torch"
)

// Under autocast every network trains as it does in float32: loss and
// gradients of a step differ by no more than bfloat16's rounding explains.
func TestGoldenAutocast(t *testing.T) {
	const lossGate, cosineGate = 0.02, 0.99
	for file := range goldenNets {
		t.Run(file, func(t *testing.T) {
			onEngine(t, func(s *torch.Scope) {
				fullLoss, full := gradientsIn(t, s, file, torch.Float32)
				halfLoss, half := gradientsIn(t, s, file, torch.BFloat16)
				if off := math.Abs(halfLoss/fullLoss - 1); !(off <= lossGate) {
					t.Errorf("loss %v, in float32 %v", halfLoss, fullLoss)
				}
				if fullLoss == halfLoss {
					t.Errorf("loss %v in both: nothing was computed in bfloat16", fullLoss)
				}
				if c := cosine(full, half); !(c >= cosineGate) {
					t.Errorf("cosine of the gradients %v", c)
				} else {
					t.Logf("loss off by %.2g, cosine of the gradients %.6f", halfLoss/fullLoss-1, c)
				}
			})
		})
	}
}

// gradientsIn is the first batch's loss and all gradients after each other.
func gradientsIn(t *testing.T, s *torch.Scope, file string, dtype torch.DType) (loss float64, gradients []float32) {
	g, net := openGolden(t, s, file)
	g.step = 1 // the values of step 0 are compared elsewhere
	var total torch.Tensor
	torch.Autocast(torch.CPU, dtype, func() { total, _ = net.loss(g, g.batches()[0]) })
	total.Backward()
	for _, e := range g.p.All() {
		if grad := torch.Grad(s, e.Tensor); !e.Buffer && grad.Defined() {
			if grad.DType() != torch.Float32 {
				t.Errorf("the gradient of %s is %v", e.Name, grad.DType())
			}
			gradients = append(gradients, grad.Float32s()...)
		}
	}
	return total.Item(), gradients
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}
