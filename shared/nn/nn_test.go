package nn

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/testkit"
	"videosim/shared/torch"
)

// onEngine runs f on an engine's thread and checks that nothing leaks.
func onEngine(t *testing.T, f func(s *torch.Scope)) {
	t.Helper()
	e, err := torch.Start(torch.EngineConfig{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	before := torch.LiveTensors()
	err = e.Do(context.Background(), func(s *torch.Scope) error {
		f(s)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if leaked := torch.LiveTensors() - before; leaked != 0 {
		t.Errorf("%d tensors leaked", leaked)
	}
}

var smallBERT = BERTConfig{
	Vocab: 50, Hidden: 12, Layers: 2, Heads: 3, Intermediate: 20,
	MaxPosition: 16, TypeVocab: 2, LayerNormEps: 1e-12, Dropout: 0.1,
}

func small(p *Params) (*BERT, *VideoTransformer, *Gate) {
	at := p.Root()
	video := VideoConfig{FrameDim: 8, Depth: 2, Heads: 2, HeadDim: 5, MLP: 11, LayerNormEps: DefaultEps, Dropout: 0.1}
	return NewBERT(at.At("bert"), smallBERT), NewVideoTransformer(at.At("video"), video), NewGate(at.At("gate"), 6)
}

func TestInitialisation(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		p := NewParams(s, Options{})
		small(p)
		stats := func(name string) (mean, deviation, low, high float64) {
			values := p.Get(name).Float32s()
			low, high = math.Inf(1), math.Inf(-1)
			for _, v := range values {
				mean += float64(v) / float64(len(values))
				low, high = min(low, float64(v)), max(high, float64(v))
			}
			for _, v := range values {
				deviation += (float64(v) - mean) * (float64(v) - mean) / float64(len(values))
			}
			return mean, math.Sqrt(deviation), low, high
		}
		for _, name := range []string{"bert.embeddings.word_embeddings.weight", "bert.encoder.layer.1.output.dense.weight"} {
			if mean, deviation, _, _ := stats(name); math.Abs(mean) > 0.005 || math.Abs(deviation-0.02) > 0.004 {
				t.Errorf("%s: mean %.4f, deviation %.4f; want N(0, 0.02²)", name, mean, deviation)
			}
		}
		if padding := p.Get("bert.embeddings.word_embeddings.weight").Float32s()[:smallBERT.Hidden]; slices.ContainsFunc(padding, func(v float32) bool { return v != 0 }) {
			t.Errorf("the word row of padding is %v, want zeros", padding)
		}
		for name, inputs := range map[string]float64{
			"video.layers.0.0.fn.fn.to_qkv.weight": 8, "video.layers.1.1.fn.fn.net.3.bias": 11, "gate.fc_avg.0.weight": 6,
		} {
			bound := 1 / math.Sqrt(inputs)
			if _, deviation, low, high := stats(name); low < -bound || high > bound || deviation < bound/4 {
				t.Errorf("%s: %.3f to %.3f, deviation %.3f; want uniform in ±%.3f", name, low, high, deviation, bound)
			}
		}
		if _, _, low, high := stats("video.cls_token"); low < 0 || high >= 1 || high == low {
			t.Errorf("class token: %v to %v, want uniform in [0,1)", low, high)
		}
		for name, want := range map[string]float64{
			"bert.encoder.layer.0.attention.self.query.bias": 0, "bert.embeddings.LayerNorm.weight": 1,
			"gate.fc_avg.1.running_var": 1, "gate.fc_avg.1.running_mean": 0, "gate.fc_avg.1.weight": 1,
		} {
			if _, _, low, high := stats(name); low != want || high != want {
				t.Errorf("%s: %v to %v, want %v", name, low, high, want)
			}
		}
	})
}

func TestSameSeedSameParameters(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		var first []bundle.NamedTensor
		for range 2 {
			torch.Seed(torch.CPU, 5)
			p := NewParams(s, Options{})
			small(p)
			if first == nil {
				first = p.Export()
				continue
			}
			for i, tensor := range p.Export() {
				if !slices.Equal(tensor.Data, first[i].Data) {
					t.Errorf("%s differs between two runs with one seed", tensor.Name)
				}
			}
		}
	})
}

func TestExportAndLoad(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		p := NewParams(s, Options{})
		small(p)
		stored := p.Export()
		q := NewParams(s, Options{DType: torch.BFloat16})
		small(q)
		if err := q.Load(stored); err != nil {
			t.Fatal(err)
		}
		for _, tensor := range stored {
			got := q.Get(tensor.Name)
			if buffer := strings.Contains(tensor.Name, "running") || strings.Contains(tensor.Name, "tracked"); buffer != q.IsBuffer(tensor.Name) {
				t.Errorf("%s: buffer %v", tensor.Name, !buffer)
			} else if rounded := got.DType() == torch.BFloat16; rounded == buffer {
				t.Errorf("%s is %v: parameters are rounded, buffers never", tensor.Name, got.DType())
			}
			testkit.Close(t, tensor.Name, got.Float32s(), p.Get(tensor.Name).Float32s(), 1.0/256)
		}
	})
}

func TestLoadRefuses(t *testing.T) {
	change := map[string]func([]bundle.NamedTensor) []bundle.NamedTensor{
		// a checkpoint whose names have another prefix: the nearest name helps
		"(nearest found: model.bert.embeddings.word_embeddings.weight [50 12])": func(x []bundle.NamedTensor) []bundle.NamedTensor {
			for i := range x {
				x[i].Name = "model." + x[i].Name
			}
			return x
		},
		"1 missing: gate.fc_avg.1.num_batches_tracked []": func(x []bundle.NamedTensor) []bundle.NamedTensor { return x[:len(x)-1] },
		"1 not expected: surplus": func(x []bundle.NamedTensor) []bundle.NamedTensor {
			return append(x, bundle.Float32Tensor("surplus", []float32{1}, 1))
		},
		"1 of another shape: bert.embeddings.word_embeddings.weight: expected [50 12], found [12 50]": func(x []bundle.NamedTensor) []bundle.NamedTensor {
			x[0].Shape = []int64{12, 50}
			return x
		},
		`tensor "bert.embeddings.word_embeddings.weight": dtype U64 is not supported`: func(x []bundle.NamedTensor) []bundle.NamedTensor {
			x[0].DType = "U64"
			return x
		},
		"needs 2400 bytes, found 8": func(x []bundle.NamedTensor) []bundle.NamedTensor {
			x[0].Data = x[0].Data[:8]
			return x
		},
	}
	onEngine(t, func(s *torch.Scope) {
		for message, f := range change {
			p := NewParams(s, Options{})
			small(p)
			err := p.Load(f(p.Export()))
			if errs.KindOf(err) != errs.Corrupt || !strings.Contains(err.Error(), message) {
				t.Errorf("got %v, want Corrupt with %q", err, message)
			}
		}
	})
}

func TestCopyFrom(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		part := NewParams(s, Options{})
		NewBERT(part.Root(), smallBERT)
		whole := NewParams(s, Options{})
		small(whole)
		if err := whole.CopyFrom("bert.", part); err != nil {
			t.Fatal(err)
		}
		const name = "encoder.layer.1.output.dense.weight"
		testkit.Close(t, name, whole.Get("bert."+name).Float32s(), part.Get(name).Float32s(), 0)
		if err := whole.CopyFrom("video.", part); errs.KindOf(err) != errs.Invalid {
			t.Errorf("copying a text encoder into a video transformer: %v, want Invalid", err)
		}
		if err := whole.CopyFrom("bert.encoder.layer.0.", part); errs.KindOf(err) != errs.Invalid {
			t.Errorf("copying a whole into one of its parts: %v, want Invalid", err)
		}
	})
}

func TestDropoutOnlyInTraining(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		p := NewParams(s, Options{})
		bert, video, _ := small(p)
		tokens := torch.FromInt64s(s, []int64{1, 5, 7, 2}, 1, 4)
		types := torch.Zeros(s, torch.Int64, torch.CPU, 1, 4)
		frames := torch.Full(s, 0.5, torch.Float32, torch.CPU, 1, 3, 8)
		run := func() []float32 {
			x := bert.Encode(s, bert.Words(s, tokens), types, torch.Arange(s, 4, torch.CPU), torch.Tensor{})
			return append(x.Float32s(), video.Forward(s, frames, torch.Tensor{}).Float32s()...)
		}
		same := func() bool { return slices.Equal(run(), run()) }
		if !same() {
			t.Error("outside training two runs differ")
		}
		p.SetTraining(true)
		if same() {
			t.Error("in training two runs are equal: no dropout")
		}
		p.SetTraining(false)
		if !same() {
			t.Error("after training two runs differ")
		}
	})
}

func TestEncodeFirstIsPositionZeroOfEncode(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		bert := NewBERT(NewParams(s, Options{}).Root(), smallBERT)
		tokens := torch.FromInt64s(s, []int64{1, 5, 7, 2, 1, 9, 0, 0}, 2, 4)
		types := torch.FromInt64s(s, []int64{0, 0, 1, 1, 0, 0, 0, 0}, 2, 4)
		mask := AttentionMask(s, torch.FromInt64s(s, []int64{1, 1, 1, 1, 1, 1, 0, 0}, 2, 4), torch.Float32)
		places := torch.Arange(s, 4, torch.CPU)
		all := bert.Encode(s, bert.Words(s, tokens), types, places, mask)
		first := bert.EncodeFirst(s, bert.Words(s, tokens), types, places, mask)
		testkit.Close(t, "position 0", first.Float32s(), First(s, all).Float32s(), 1e-6)
	})
}

func TestPaddingRowGetsNoGradient(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		p := NewParams(s, Options{})
		bert := NewBERT(p.Root(), smallBERT)
		p.SetTrainable(func(string) bool { return true })
		tokens := torch.FromInt64s(s, []int64{1, 0, 7}, 1, 3) // a real token with the id of padding
		x := bert.Encode(s, bert.Words(s, tokens), torch.Zeros(s, torch.Int64, torch.CPU, 1, 3), torch.Arange(s, 3, torch.CPU), torch.Tensor{})
		torch.SumAll(s, torch.Pow(s, torch.AddScalar(s, x, 0.3), 3)).Backward()
		norms := torch.Norm(s, torch.Grad(s, p.Get("embeddings.word_embeddings.weight")), 1, false).Float32s()
		for id, norm := range norms {
			if used := id == 1 || id == 7; used != (norm > 0) {
				t.Errorf("gradient of word row %d has norm %v", id, norm)
			}
		}
		if torch.Grad(s, p.Get("pooler.dense.weight")).Defined() {
			t.Error("the pooler, which nothing reads, has a gradient")
		}
	})
}

func TestSetTrainable(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		p := NewParams(s, Options{})
		small(p)
		p.SetTrainable(func(name string) bool { return strings.HasPrefix(name, "gate.") })
		for _, e := range p.All() {
			want := strings.HasPrefix(e.Name, "gate.") && !e.Buffer
			if e.Tensor.RequiresGrad() != want {
				t.Errorf("%s: trained %v, want %v", e.Name, !want, want)
			}
		}
	})
}

func TestBatchNorm(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		p := NewParams(s, Options{})
		n := NewBatchNorm(p.Root(), 2)
		x := torch.FromFloat32s(s, []float32{1, 10, 3, 10, 5, 40}, 3, 2) // means 3, 20; biased variances 8/3, 200
		p.SetTraining(true)
		got := n.Forward(s, x)
		a, b := float32(2/math.Sqrt(8.0/3+DefaultEps)), float32(10/math.Sqrt(200+DefaultEps))
		testkit.Close(t, "in training", got.Float32s(), []float32{-a, -b, 0, -b, a, 2 * b}, 1e-6)
		n.Forward(s, x)
		// after two batches: mean·(1 - 0.9²), 0.9² + unbiased variance·(1 - 0.9²)
		testkit.Close(t, "running mean", p.Get("running_mean").Float32s(), []float32{3 * 0.19, 20 * 0.19}, 1e-6)
		testkit.Close(t, "running variance", p.Get("running_var").Float32s(), []float32{0.81 + 4*0.19, 0.81 + 300*0.19}, 1e-6)
		if batches := p.Get("num_batches_tracked").Int64s()[0]; batches != 2 {
			t.Errorf("counted %d batches, want 2", batches)
		}
		p.SetTraining(false)
		one := n.Forward(s, torch.FromFloat32s(s, []float32{3 * 0.19, 20 * 0.19}, 1, 2))
		testkit.Close(t, "the running mean, normalised", one.Float32s(), []float32{0, 0}, 1e-6)
	})
}

func TestBatchNormOfOneRowInTraining(t *testing.T) {
	e, err := torch.Start(torch.EngineConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	err = e.Do(context.Background(), func(s *torch.Scope) error {
		p := NewParams(s, Options{})
		n := NewBatchNorm(p.Root(), 2)
		p.SetTraining(true)
		n.Forward(s, torch.Zeros(s, torch.Float32, torch.CPU, 1, 2))
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "at least 2 rows") {
		t.Errorf("got %v, want an error about the number of rows", err)
	}
}

func TestMaskedMean(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		x := torch.FromFloat32s(s, []float32{1, 2, 3, 4, 100, 100, 5, 6, 7, 8, 9, 10}, 2, 3, 2)
		mask := torch.FromInt64s(s, []int64{1, 1, 0, 0, 0, 0}, 2, 3)
		testkit.Close(t, "mean", MaskedMean(s, x, mask).Float32s(), []float32{2, 3, 0, 0}, 1e-6)
	})
}

func TestAttentionMaskHidesPadding(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		values := []float32{1, 2, 3, 4, 9, 9}
		q := torch.FromFloat32s(s, values, 1, 1, 3, 2)
		mask := AttentionMask(s, torch.FromInt64s(s, []int64{1, 1, 0}, 1, 3), torch.Float32)
		short := torch.Narrow(s, q, 2, 0, 2)
		masked := torch.Attention(s, q, q, q, mask, 0)
		alone := torch.Attention(s, short, short, short, torch.Tensor{}, 0)
		testkit.Close(t, "real positions", torch.Narrow(s, masked, 2, 0, 2).Float32s(), alone.Float32s(), 1e-6)
	})
}

func TestNamesMustDiffer(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		defer func() {
			if recover() == nil {
				t.Error("two layers took one name")
			}
		}()
		p := NewParams(s, Options{})
		NewLinear(p.Root().At("a"), 2, 2)
		NewLinear(p.Root().At("a"), 2, 2)
	})
}

// The row of padding starts as zeros and stays so, wherever a vocabulary has it.
func TestPaddingRow(t *testing.T) {
	onEngine(t, func(s *torch.Scope) {
		cfg := smallBERT
		cfg.Padding = 3
		p := NewParams(s, Options{})
		bert := NewBERT(p.Root(), cfg)
		p.SetTrainable(func(string) bool { return true })
		words := bert.Words(s, torch.FromInt64s(s, []int64{0, 3, 5}, 1, 3))
		torch.Sum(s, torch.Reshape(s, words, -1), 0, false).Backward()
		table := p.Get("embeddings.word_embeddings.weight")
		values, grad := table.Float32s(), torch.Grad(s, table).Float32s()
		for row, want := range map[int]float32{0: 1, 3: 0, 5: 1, 7: 0} {
			if got := grad[row*cfg.Hidden]; got != want {
				t.Errorf("gradient of row %d: %v, want %v", row, got, want)
			}
		}
		if values[3*cfg.Hidden] != 0 || values[0] == 0 {
			t.Errorf("row 0 begins with %v, row 3 with %v: expected zeros in row 3 alone", values[0], values[3*cfg.Hidden])
		}
		table.ClearGrad()
	})
}
