package nn

import (
	"math"

	"videosim/shared/torch"
)

// Init gives a new parameter its first values.
type Init func(torch.Tensor)

func zeros(t torch.Tensor) { t.Fill(0) }
func ones(t torch.Tensor)  { t.Fill(1) }

// UnitUniform draws from [0, 1).
func UnitUniform(t torch.Tensor) { t.Uniform(0, 1) }

// fanIn is PyTorch's default for linear layers, weights and biases alike:
// uniform in ±1/√inputs.
func fanIn(inputs int) Init {
	bound := 1 / math.Sqrt(float64(inputs))
	return func(t torch.Tensor) { t.Uniform(-bound, bound) }
}

// Linear is y = x·Wᵀ + b.
type Linear struct{ w torch.Weights }

// NewLinear makes a layer from in to out values with PyTorch's initialisation.
func NewLinear(p Path, in, out int) *Linear {
	return newLinear(p, in, out, fanIn(in), fanIn(in))
}

// NewLinearNoBias is NewLinear without the b.
func NewLinearNoBias(p Path, in, out int) *Linear {
	return p.linear(torch.Weights{Weight: p.Parameter("weight", fanIn(in), int64(out), int64(in))})
}

func newLinear(p Path, in, out int, weight, bias Init) *Linear {
	return p.linear(torch.Weights{
		Weight: p.Parameter("weight", weight, int64(out), int64(in)),
		Bias:   p.Parameter("bias", bias, int64(out)),
	})
}

// Forward maps (…, in) to (…, out).
func (l *Linear) Forward(s *torch.Scope, x torch.Tensor) torch.Tensor {
	return torch.Linear(s, x, l.w, torch.After{})
}

// ForwardGELU is Forward, then GELU.
func (l *Linear) ForwardGELU(s *torch.Scope, x torch.Tensor) torch.Tensor {
	return torch.Linear(s, x, l.w, torch.After{GELU: true})
}

// residual returns to + dropout(Forward(x)): the way by which a layer of a
// transformer changes its states.
func (l *Linear) residual(s *torch.Scope, x, to torch.Tensor, dropout float64, training bool) torch.Tensor {
	if !training {
		return torch.Linear(s, x, l.w, torch.After{Add: to})
	}
	return torch.Add(s, torch.Dropout(s, l.Forward(s, x), dropout, true), to)
}

// DefaultEps is the epsilon of PyTorch's normalisations: what the video
// transformer, the norm between the encoders, and the gates use. BERT has 1e-12.
const DefaultEps = 1e-5

// LayerNorm normalises the last axis by its mean and biased variance.
type LayerNorm struct {
	weight, bias torch.Tensor
	eps          float64
}

// NewLayerNorm makes a norm over width values.
func NewLayerNorm(p Path, width int, eps float64) *LayerNorm {
	return &LayerNorm{
		weight: p.Parameter("weight", ones, int64(width)),
		bias:   p.Parameter("bias", zeros, int64(width)),
		eps:    eps,
	}
}

// Forward keeps the shape (…, width).
func (n *LayerNorm) Forward(s *torch.Scope, x torch.Tensor) torch.Tensor {
	return torch.LayerNorm(s, x, n.weight, n.bias, n.eps)
}

// batchMomentum is the weight of a new batch in the running statistics.
const batchMomentum = 0.1

// BatchNorm normalises each column over the batch: in training by the batch's
// own statistics, of which it keeps running means, otherwise by those.
type BatchNorm struct {
	weight, bias, mean, variance, batches torch.Tensor
	mode                                  *mode
}

// NewBatchNorm makes a norm over width columns.
func NewBatchNorm(p Path, width int) *BatchNorm {
	n := int64(width)
	return &BatchNorm{
		weight:   p.Parameter("weight", ones, n),
		bias:     p.Parameter("bias", zeros, n),
		mean:     p.buffer("running_mean", torch.Float32, zeros, n),
		variance: p.buffer("running_var", torch.Float32, ones, n),
		batches:  p.buffer("num_batches_tracked", torch.Int64, zeros),
		mode:     p.params.mode,
	}
}

// Forward keeps the shape (B, width). Training needs B ≥ 2: one row has no
// variance.
func (n *BatchNorm) Forward(s *torch.Scope, x torch.Tensor) torch.Tensor {
	if n.mode.training {
		if x.Size(0) < 2 {
			panic(&torch.Error{Op: "batch norm", Message: "training needs at least 2 rows, found 1"})
		}
		one := torch.Full(s, 1, torch.Int64, n.batches.Device())
		n.batches.Copy(torch.Add(s, n.batches, one))
	}
	return torch.BatchNorm(s, x, n.weight, n.bias, torch.BatchStats{
		Mean: n.mean, Variance: n.variance, Training: n.mode.training, Momentum: batchMomentum, Eps: DefaultEps,
	})
}
