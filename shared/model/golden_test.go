package model

import (
	"context"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/nn"
	"videosim/shared/testkit"
	"videosim/shared/torch"
)

// gate is the largest difference to the reference that is allowed, relative to
// the largest value of the tensor.
const gate = 1e-5

// goldenConfig is the config of a fixture, from the manifest's sizes alone.
func goldenConfig(t *testing.T, file string) Config {
	t.Helper()
	z := testkit.ReadManifest(t).File(t, file).Sizes
	n := func(name string) int { return z.Int(t, name) }
	text := TextConfig{
		Vocab: n("bert_vocab"), Hidden: n("bert_hidden"), Layers: n("bert_layers"), Heads: n("bert_heads"),
		Intermediate: n("bert_intermediate"), MaxPosition: n("bert_max_position"),
		TypeVocab: z.IntOr(t, "bert_type_vocab", 2), LayerNormEps: z.FloatOr(t, "bert_layer_norm_eps", 1e-12),
	}
	frames := VideoConfig{
		FrameDim: n("video_dim"), Depth: n("video_depth"), Heads: n("video_heads"), HeadDim: n("video_dim_head"),
		MLP: n("video_mlp"), LayerNormEps: z.FloatOr(t, "video_layer_norm_eps", nn.DefaultEps),
	}
	if eps := z.FloatOr(t, "text_ln_eps", nn.DefaultEps); eps != nn.DefaultEps {
		t.Fatalf("the norm after the title's encoder has epsilon %v, the fixtures %v", nn.DefaultEps, eps)
	}
	cfg := Config{
		Text: text, Video: frames,
		Cross: CrossConfig{
			Layers: n("cross_modal_layers"), Heads: n("cross_modal_heads"),
			Intermediate: z.IntOr(t, "cross_modal_intermediate", text.Intermediate),
		},
		Tags: n("tags"), Embedding: n("final_embedding"), Frames: n("frames"),
		LateTokens: n("text_len_model1"), EarlyTokens: n("text_len_model2"),
	}.Reference()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// golden is one fixture being checked, on the engine's thread.
type golden struct {
	t   *testing.T
	s   *torch.Scope
	cfg Config
	all testkit.Tensors
}

// checkGolden runs f on an engine of its own and checks that nothing leaks.
func checkGolden(t *testing.T, file string, f func(g golden)) {
	t.Helper()
	g := golden{t: t, cfg: goldenConfig(t, file), all: testkit.Fixture(t, file)}
	onEngine(t, func(s *torch.Scope) {
		g.s = s
		torch.NoGrad(func() { f(g) })
	})
}

// onEngine runs f on an engine's thread.
func onEngine(t *testing.T, f func(s *torch.Scope)) {
	t.Helper()
	e, err := torch.Start(torch.EngineConfig{Device: "cpu", Seed: 1})
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

// params returns a registry for a network that load then fills.
func (g golden) params() *nn.Params { return nn.NewParams(g.s, nn.Options{Blank: true}) }

// load sets p from the fixture's weights: every name must be there, no more.
func (g golden) load(p *nn.Params) {
	g.t.Helper()
	var stored []bundle.NamedTensor
	for _, w := range g.all.Under("weights/") {
		stored = append(stored, w.Stored())
	}
	if err := p.Load(stored); err != nil {
		g.t.Fatal(err)
	}
}

func (g golden) ints(name string) torch.Tensor {
	g.t.Helper()
	x := g.all.Of(g.t, name)
	return torch.FromInt64s(g.s, x.Int64s(), x.Shape...)
}

// inputs reads a batch. Its text is that of whichever model the fixture is of.
func (g golden) inputs(batch string) *Inputs {
	g.t.Helper()
	in := &Inputs{}
	if _, ok := g.all[batch+"input_ids"]; ok {
		in.Late = Text{
			Tokens: g.ints(batch + "input_ids"), Types: g.ints(batch + "token_type_ids"), Mask: g.ints(batch + "attention_mask"),
		}
		in.Early = in.Late
	}
	if x, ok := g.all[batch+"frames"]; ok {
		in.Frames = torch.FromFloat32s(g.s, x.Float32s(), x.Shape...)
		mask := g.ints(batch + "frame_mask")
		n := in.Frames.Size(1)
		in.FrameMask = torch.Narrow(g.s, mask, 1, mask.Size(1)-n, n) // without the class token
	}
	return in
}

// close compares a tensor with the fixture's of that name.
func (g golden) close(name string, got torch.Tensor) {
	g.t.Helper()
	testkit.Close(g.t, name, got.Float32s(), g.all.Of(g.t, name).Float32s(), gate)
}

var pretrainBatches = []string{"batch0.", "batch1."}

func TestGoldenTextNet(t *testing.T) {
	checkGolden(t, "textnet.safetensors", func(g golden) {
		m := NewTextNet(g.cfg, g.params())
		g.load(m.Params())
		for _, b := range pretrainBatches {
			in := g.inputs(b)
			hidden := m.Forward(g.s, in)
			logits := m.Logits(g.s, hidden)
			g.close(b+"out.sequence", m.sequence(g.s, in.Late))
			g.close(b+"out.embedding", hidden)
			g.close(b+"out.logits", logits)
			g.close(b+"out.probs", torch.Sigmoid(g.s, logits))
		}
	})
}

func TestGoldenVideoNet(t *testing.T) {
	checkGolden(t, "videonet.safetensors", func(g golden) {
		m := NewVideoNet(g.cfg, g.params())
		g.load(m.Params())
		for _, b := range pretrainBatches {
			in := g.inputs(b)
			hidden := m.Forward(g.s, in)
			logits := m.Logits(g.s, hidden)
			g.close(b+"out.sequence", m.sequence(g.s, in, m.withClass(g.s, in.FrameMask)))
			g.close(b+"out.embedding", hidden)
			g.close(b+"out.logits", logits)
			g.close(b+"out.probs", torch.Sigmoid(g.s, logits))
		}
	})
}

func TestGoldenEarly(t *testing.T) {
	checkGolden(t, "multibert.safetensors", func(g golden) {
		m := NewEarly(g.cfg, g.params())
		g.load(m.Params())
		for _, b := range pretrainBatches {
			out := m.run(g.s, g.inputs(b))
			logits := m.Logits(g.s, out.Hidden)
			g.close(b+"out.text_sequence", out.Text)
			g.close(b+"out.video_sequence", out.Frames)
			g.close(b+"out.embedding", out.Hidden)
			g.close(b+"out.logits", logits)
			g.close(b+"out.probs", torch.Sigmoid(g.s, logits))
		}
	})
}

var pairBatches = []string{"batch0.video1.", "batch0.video2.", "batch1.video1.", "batch1.video2."}

func TestGoldenLate(t *testing.T) {
	checkGolden(t, "simnet13.safetensors", func(g golden) {
		m := NewLate(g.cfg, g.params())
		g.load(m.Params())
		for _, b := range pairBatches {
			out := m.Forward(g.s, g.inputs(b))
			g.close(b+"out_eval.text_embed", out.Text)
			g.close(b+"out_eval.video_embed", out.Video)
			g.close(b+"out_eval.gates", out.Gates)
			g.close(b+"out_eval.embedding", out.Embedding)
		}
	})
}

func TestGoldenEarlyFinetuned(t *testing.T) {
	checkGolden(t, "multibert_simnet.safetensors", func(g golden) {
		m := NewEarlyFinetuned(g.cfg, g.params())
		g.load(m.Params())
		for _, b := range pairBatches {
			out := m.Forward(g.s, g.inputs(b))
			g.close(b+"out_eval.gates", out.Gates)
			g.close(b+"out_eval.gated", out.Gated)
			g.close(b+"out_eval.embedding", out.Embedding)
		}
	})
}

// The two epsilon fixtures have weights so small that a wrong epsilon shows.

func TestGoldenEpsilonsLate(t *testing.T) {
	checkGolden(t, "eps_simnet13.safetensors", func(g golden) {
		m := NewLate(g.cfg, g.params())
		g.load(m.Params())
		in := g.inputs("batch0.")
		out := m.Forward(g.s, in)
		g.close("batch0.out_eval.text_embedding", m.Text.Forward(g.s, in))
		g.close("batch0.out_eval.video_embedding", m.Video.Forward(g.s, in))
		g.close("batch0.out_eval.gates", out.Gates)
		g.close("batch0.out_eval.embedding", out.Embedding)
	})
}

func TestGoldenEpsilonsEarly(t *testing.T) {
	checkGolden(t, "eps_multibert_simnet.safetensors", func(g golden) {
		m := NewEarlyFinetuned(g.cfg, g.params())
		g.load(m.Params())
		out := m.Forward(g.s, g.inputs("batch0."))
		g.close("batch0.out_eval.text_sequence", out.Encoder.Text)
		g.close("batch0.out_eval.cross_modal_embedding", out.Encoder.Hidden)
		g.close("batch0.out_eval.gates", out.Gates)
		g.close("batch0.out_eval.embedding", out.Embedding)
	})
}
