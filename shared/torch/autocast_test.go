package torch

import (
	"math"
	"testing"
)

// onEngine runs f on an engine of its own.
func onEngine(t *testing.T, f func(s *Scope)) {
	t.Helper()
	do(t, start(t), func(s *Scope) error { f(s); return nil })
}

func TestAutocast(t *testing.T) {
	onEngine(t, func(s *Scope) {
		w := FromFloat32s(s, []float32{1, 2, 3, 4}, 2, 2)
		w.SetRequiresGrad(true)
		x := FromFloat32s(s, []float32{1, 1 + 1.0/512}, 1, 2) // rounds to 1 in bf16
		product := func() Tensor { return MatMul(s, x, w) }
		is := func(when string, want DType) {
			t.Helper()
			if got := product().DType(); got != want {
				t.Errorf("%s: a product is %v, want %v", when, got, want)
			}
		}
		is("before", Float32)
		Autocast(CPU, BFloat16, func() {
			is("inside", BFloat16)
			if got := Add(s, x, x).DType(); got != Float32 {
				t.Errorf("a sum is %v", got)
			}
			Autocast(CPU, Float32, func() { is("switched off inside", Float32) })
			is("after an inner one", BFloat16)
			Autocast(CPU, BFloat16, func() { is("nested", BFloat16) })
			is("after a nested one", BFloat16)
		})
		is("after", Float32)
		if err := fails(func() { Autocast(CPU, BFloat16, func() { panic(&Error{Op: "test"}) }) }); err != nil {
			t.Error(err)
		}
		is("after a panic", Float32)
	})
}

// Weights are converted once, gradients arrive in Float32, and a weight that
// was changed between two passes is converted again.
func TestAutocastGradients(t *testing.T) {
	onEngine(t, func(s *Scope) {
		w := FromFloat32s(s, []float32{3}, 1, 1)
		w.SetRequiresGrad(true)
		x := FromFloat32s(s, []float32{2}, 1, 1)
		pass := func() float64 {
			var y Tensor
			Autocast(CPU, BFloat16, func() {
				y = Add(s, MatMul(s, x, w), MatMul(s, x, w))
			})
			SumAll(s, AsType(s, y, Float32)).Backward()
			return y.Item()
		}
		if y := pass(); y != 12 {
			t.Errorf("got %v, want 12", y)
		}
		if g := Grad(s, w); g.DType() != Float32 || g.Item() != 4 {
			t.Errorf("gradient %v %v, want 4", g.DType(), g.Item())
		}
		w.Fill(5)
		if y := pass(); y != 20 {
			t.Errorf("after a change of the weight: got %v, want 20", y)
		}
	})
}

// The step in one pass is the published one, written out number by number.
func TestAdamStep(t *testing.T) {
	onEngine(t, func(s *Scope) {
		const n = 100_003 // several threads' work, and no multiple of a vector
		draw := func() Tensor {
			x := Empty(s, Float32, CPU, n)
			x.Normal(0, 1)
			return x
		}
		p, g, m, v := draw(), draw(), draw(), draw()
		v.MulBy(v) // second moments are not negative
		a := AdamSettings{Beta1: 0.9, Beta2: 0.999, Eps: 1e-6, Rate: 0.01, Decay: 0.1, MaxNorm: 1}
		p0, g0, m0, v0 := p.Float32s(), g.Float32s(), m.Float32s(), v.Float32s()
		norm := 0.0
		for _, x := range g0 {
			norm += float64(x) * float64(x)
		}
		clip := min(1, 1/(math.Sqrt(norm)+1e-6))
		p.AdamStep(g, m, v, a)
		p1, m1, v1 := p.Float32s(), m.Float32s(), v.Float32s()
		for i := range n {
			grad := float64(g0[i]) * clip
			mean := 0.9*float64(m0[i]) + 0.1*grad
			square := 0.999*float64(v0[i]) + 0.001*grad*grad
			want := float64(p0[i]) - 0.01*(mean/(math.Sqrt(square)+1e-6)+0.1*float64(p0[i]))
			near := func(what string, got float32, want float64) {
				if math.Abs(float64(got)-want) > 2e-6*max(1, math.Abs(want)) {
					t.Fatalf("%s[%d]: got %v, want %v", what, i, got, want)
				}
			}
			near("mean", m1[i], mean)
			near("mean square", v1[i], square)
			near("value", p1[i], want)
		}
	})
}

func TestAdamStepRefuses(t *testing.T) {
	onEngine(t, func(s *Scope) {
		x, short := Zeros(s, Float32, CPU, 4), Zeros(s, Float32, CPU, 3)
		if err := fails(func() { x.AdamStep(x, x, short, AdamSettings{}) }); err != nil {
			t.Error(err)
		}
	})
}
