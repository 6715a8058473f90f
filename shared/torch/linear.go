package torch

// #include "shim.h"
import "C"

// Weights are those of a linear layer. Weight is (out, in), and of one of three
// kinds: plain; packed by Pack; or replaced by Quantise, which sets Scale.
type Weights struct {
	Weight Tensor
	Bias   Tensor // (out); may be absent
	Scale  Tensor // (out) Float32, of quantised weights only
}

// After is what follows a linear layer, at most one of the two. The CPU computes
// it together with the product where the weights are packed or quantised.
type After struct {
	GELU bool
	Add  Tensor // of the result's shape
}

// Linear returns x·weightᵀ + bias, and what follows.
func Linear(s *Scope, x Tensor, w Weights, then After) Tensor {
	return s.take("linear", C.vt_linear(x.c(), w.Weight.c(), w.Scale.optional(), w.Bias.optional(),
		then.Add.optional(), C.bool(then.GELU)))
}

// Pack brings the weight into the layout in which the CPU multiplies fastest, in
// place: it can then be read by Linear alone. The product is the same but for
// rounding, and for two rows and more a row's result does not depend on the
// others nor on their number. CPUs without AVX-512 gain nothing.
func (w Weights) Pack() { check("pack", C.vt_pack_(w.Weight.c())) }

// Quantise replaces the weight by 8-bit integers with a scale an output, in
// place. Linear then takes BFloat16 rows, gives each a scale of its own,
// multiplies integers, and does the rest in Float32. Without VNNI instructions
// intermediate sums of 16 bits could overflow: see Engine.Int8.
func (w *Weights) Quantise(s *Scope) { w.Scale = s.take("quantise", C.vt_quantise_(w.Weight.c())) }
