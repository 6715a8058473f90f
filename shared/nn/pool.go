package nn

import (
	"math"

	"videosim/shared/torch"
)

// Gate is the squeeze-excite gate of Hu et al. (2018) over a vector: a weight
// in 0..1 for each value, computed from all of them.
type Gate struct {
	fc   *Linear
	norm *BatchNorm
}

// NewGate makes a gate over width values.
func NewGate(p Path, width int) *Gate {
	return &Gate{fc: NewLinear(p.At("fc_avg.0"), width, width), norm: NewBatchNorm(p.At("fc_avg.1"), width)}
}

// Forward returns the gates (B,width) of x (B,width).
func (g *Gate) Forward(s *torch.Scope, x torch.Tensor) torch.Tensor {
	return torch.Sigmoid(s, g.norm.Forward(s, g.fc.Forward(s, x)))
}

// First returns position 0 of x (B,N,H): (B,H).
func First(s *torch.Scope, x torch.Tensor) torch.Tensor { return torch.Select(s, x, 1, 0) }

// MaskedMean averages the positions of x (B,N,H) where mask (B,N) is 1: (B,H) in
// Float32, under autocast too. Without any it is zero.
func MaskedMean(s *torch.Scope, x, mask torch.Tensor) (mean torch.Tensor) {
	torch.Autocast(x.Device(), torch.Float32, func() { mean = maskedMean(s, x, mask) })
	return mean
}

func maskedMean(s *torch.Scope, x, mask torch.Tensor) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		weights := torch.AsType(s, mask, torch.Float32)
		sum := torch.MatMul(s, torch.Unsqueeze(s, weights, 1), torch.AsType(s, x, torch.Float32)) // (B,1,H)
		count := torch.AddScalar(s, torch.Sum(s, weights, 1, true), 1e-10)                        // (B,1)
		return torch.Div(s, torch.Squeeze(s, sum, 1), count)
	})
}

// AttentionMask turns a mask (B,N), 1 for real and 0 for padding, into what is
// added to attention scores (B,1,1,N): 0 and -∞. Every row needs a real position.
func AttentionMask(s *torch.Scope, mask torch.Tensor, dtype torch.DType) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		padding := torch.EqualScalar(s, mask, 0)
		b, n := mask.Size(0), mask.Size(1)
		bias := torch.MaskedFill(s, torch.Zeros(s, dtype, mask.Device(), b, n), padding, math.Inf(-1))
		return torch.Reshape(s, bias, b, 1, 1, n)
	})
}
