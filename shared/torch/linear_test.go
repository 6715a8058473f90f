package torch

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// layer is a linear layer with random weights, of the given dtype.
func layer(s *Scope, dtype DType, in, out int) Weights {
	r := rand.New(rand.NewPCG(uint64(in), uint64(out)))
	draw := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64() * 0.05)
		}
		return v
	}
	return Weights{
		Weight: AsType(s, FromFloat32s(s, draw(in*out), int64(out), int64(in)), dtype),
		Bias:   AsType(s, FromFloat32s(s, draw(out), int64(out)), dtype),
	}
}

func randomRows(s *Scope, dtype DType, rows, width int) Tensor {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(width)))
	v := make([]float32, rows*width)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return AsType(s, FromFloat32s(s, v, int64(rows), int64(width)), dtype)
}

// afters are what may follow a product.
func afters(s *Scope, dtype DType, rows, out int) map[string]After {
	return map[string]After{"nothing": {}, "gelu": {GELU: true}, "add": {Add: randomRows(s, dtype, rows, out)}}
}

func distance(got, want []float32) (worst float64) {
	for i := range want {
		worst = max(worst, math.Abs(float64(got[i]-want[i])))
		if got[i] != got[i] {
			return math.Inf(1)
		}
	}
	return worst
}

// Both forms of a packed weight against the plain product in float32 of the
// same numbers. The tolerances are those of the number formats, at values of up
// to about 10.
func TestPackedAndQuantisedLinear(t *testing.T) {
	const rows, in, out = 37, 192, 96
	forms := map[string]struct {
		dtype DType
		form  func(*Scope, *Weights)
		gate  float64
	}{
		"packed float32":  {Float32, func(_ *Scope, w *Weights) { w.Pack() }, 1e-5},
		"packed bfloat16": {BFloat16, func(_ *Scope, w *Weights) { w.Pack() }, 0.02},
		"quantised":       {BFloat16, func(s *Scope, w *Weights) { w.Quantise(s) }, 0.06},
	}
	do(t, start(t), func(s *Scope) error {
		for name, f := range forms {
			if name != "packed float32" && !nativeBFloat16() {
				continue // libtorch packs bfloat16 only where the CPU multiplies it; PacksWeights and Int8 are false there
			}
			w, x := layer(s, f.dtype, in, out), randomRows(s, f.dtype, rows, in)
			exact := Weights{Weight: AsType(s, w.Weight, Float32), Bias: AsType(s, w.Bias, Float32)}
			exact32 := AsType(s, x, Float32)
			f.form(s, &w)
			for what, after := range afters(s, f.dtype, rows, out) {
				then := after
				if then.Add.Defined() {
					then.Add = AsType(s, then.Add, Float32)
				}
				want := Linear(s, exact32, exact, then).Float32s()
				got := AsType(s, Linear(s, x, w, after), Float32).Float32s()
				if d := distance(got, want); !(d <= f.gate) {
					t.Errorf("%s, then %s: differs by %.4g from the plain product, want at most %g", name, what, d, f.gate)
				}
			}
		}
		return nil
	})
}

// A row keeps its bits whatever stands beside it. Widths of the full-size models.
func TestPackedRowsDoNotDependOnOthers(t *testing.T) {
	e := start(t)
	if !e.PacksWeights() {
		t.Logf("this CPU gains nothing from packing; PacksWeights says so, and plain weights are served")
		return
	}
	do(t, e, func(s *Scope) error {
		for _, shape := range [][2]int{{768, 3072}, {3072, 768}, {1536, 9216}, {64, 192}} {
			for name, form := range map[string]func(*Weights){
				"packed": func(w *Weights) { w.Pack() }, "quantised": func(w *Weights) { w.Quantise(s) },
			} {
				w, x := layer(s, BFloat16, shape[0], shape[1]), randomRows(s, BFloat16, 150, shape[0])
				form(&w)
				all := AsType(s, Linear(s, x, w, After{}), Float32).Float32s()
				for _, part := range [][2]int64{{0, 2}, {3, 14}, {77, 73}, {1, 149}} {
					got := AsType(s, Linear(s, Narrow(s, x, 0, part[0], part[1]), w, After{}), Float32).Float32s()
					from := part[0] * int64(shape[1])
					if !slices.Equal(got, all[from:from+int64(len(got))]) {
						t.Errorf("%s %v: rows %d to %d differ from themselves among 150", name, shape, part[0], part[0]+part[1])
					}
				}
			}
		}
		return nil
	})
}

// What is not a number must not become one: it is how a broken embedding is noticed.
func TestQuantisedKeepsWhatIsNotFinite(t *testing.T) {
	e, err := Start(EngineConfig{Precision: "int8"})
	if err != nil {
		if !strings.Contains(err.Error(), "avx512_vnni") {
			t.Errorf("int8 is refused with %q; the instructions that are missing should be named", err)
		}
		return
	}
	defer e.Close()
	do(t, e, func(s *Scope) error {
		w := layer(s, BFloat16, 64, 64)
		w.Quantise(s)
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			rows := make([]float32, 3*64)
			rows[64+5] = bad
			got := AsType(s, Linear(s, AsType(s, FromFloat32s(s, rows, 3, 64), BFloat16), w, After{}), Float32).Float32s()
			for i, v := range got {
				finite := !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0)
				if inside := i/64 == 1; finite == inside {
					t.Fatalf("%v in row 1: value %d of row %d is %v", bad, i%64, i/64, v)
				}
			}
		}
		return nil
	})
}

// Attention without padding against the library's, sequence by sequence: lengths
// around the sizes of the kernel's tiles, widths of both presets, all in columns
// of one wide tensor, as the video transformer keeps them.
func TestPackedAttention(t *testing.T) {
	do(t, start(t), func(s *Scope) error {
		for _, dtype := range []DType{Float32, BFloat16} {
			for _, width := range []int64{16, 64, 96, 256} {
				lengths, bias := []int64{1, 2, 4, 5, 31, 32, 33, 64, 65}, []float32{0, 0, 0, 3, 0, 1.5, 0, 0, 2}
				const heads = 3
				n := int64(0)
				for _, l := range lengths {
					n += l
				}
				wide := randomRows(s, dtype, int(n), int(3*heads*width))
				part := func(i int64) Tensor { return Narrow(s, wide, 1, i*heads*width, heads*width) }
				got := AsType(s, PackedAttention(s, part(0), part(1), part(2), heads, lengths, bias), Float32)
				gate := map[DType]float64{Float32: 2e-6, BFloat16: 0.01}[dtype]
				from := int64(0)
				for i, l := range lengths {
					head := func(x Tensor) Tensor {
						x = Reshape(s, Narrow(s, AsType(s, x, Float32), 0, from, l), 1, l, heads, width)
						return Transpose(s, x, 1, 2)
					}
					last := make([]float32, l)
					last[l-1] = bias[i]
					want := Attention(s, head(part(0)), head(part(1)), head(part(2)), FromFloat32s(s, last, 1, 1, 1, l), 0)
					want = Reshape(s, Transpose(s, want, 1, 2), l, heads*width)
					if d := distance(Narrow(s, got, 0, from, l).Float32s(), want.Float32s()); !(d <= gate) {
						t.Errorf("%v, width %d, length %d: differs by %.3g, want at most %g", dtype, width, l, d, gate)
					}
					from += l
				}
			}
		}
		return nil
	})
}
