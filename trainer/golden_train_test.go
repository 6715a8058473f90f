package trainer

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/testkit"
	"videosim/shared/torch"
)

// Every case of the published training runs: the losses of all steps, the
// gradients of the first, and the parameters, moments and buffers after those
// steps that the fixture stores.

func TestGoldenTrainTextNet(t *testing.T)  { trainGolden(t, "textnet.safetensors") }
func TestGoldenTrainVideoNet(t *testing.T) { trainGolden(t, "videonet.safetensors") }
func TestGoldenTrainCross(t *testing.T)    { trainGolden(t, "multibert.safetensors") }
func TestGoldenFinetuneLate(t *testing.T)  { trainGolden(t, "simnet13.safetensors") }
func TestGoldenFinetuneEarly(t *testing.T) { trainGolden(t, "multibert_simnet.safetensors") }

// goldenNets are the networks of the five training stages, by fixture.
var goldenNets = map[string]func(model.Config, *nn.Params) goldenNet{
	"textnet.safetensors":   tagCase(model.NewTextNet),
	"videonet.safetensors":  tagCase(model.NewVideoNet),
	"multibert.safetensors": tagCase(model.NewEarly),
	"simnet13.safetensors": func(cfg model.Config, p *nn.Params) goldenNet {
		m := model.NewLate(cfg, p)
		return pairCase(m.Trainable, func(s *torch.Scope, in *model.Inputs) torch.Tensor { return m.Forward(s, in).Embedding })
	},
	"multibert_simnet.safetensors": func(cfg model.Config, p *nn.Params) goldenNet {
		m := model.NewEarlyFinetuned(cfg, p)
		return pairCase(m.Trainable, func(s *torch.Scope, in *model.Inputs) torch.Tensor { return m.Forward(s, in).Embedding })
	},
}

// goldenNet is a network under test: which parameters it trains, and its loss
// on one batch of the fixture.
type goldenNet struct {
	trainable func(name string) bool
	loss      func(g *goldenRun, batch string) (total torch.Tensor, parts map[string]torch.Tensor)
}

func tagCase[N tagNet](build func(model.Config, *nn.Params) N) func(model.Config, *nn.Params) goldenNet {
	return func(cfg model.Config, p *nn.Params) goldenNet {
		m := build(cfg, p)
		return goldenNet{
			trainable: func(string) bool { return true },
			loss: func(g *goldenRun, batch string) (torch.Tensor, map[string]torch.Tensor) {
				probs := torch.Sigmoid(g.s, m.Logits(g.s, m.Forward(g.s, g.inputs(batch))))
				labels := torch.AsType(g.s, tensorOf(g.s, g.x.Of(g.t, batch+"tags")), torch.Float32)
				total := TagLoss(g.s, probs, labels)
				return total, map[string]torch.Tensor{"loss": total}
			},
		}
	}
}

func pairCase(trainable func(string) bool, embed func(*torch.Scope, *model.Inputs) torch.Tensor) goldenNet {
	return goldenNet{
		trainable: trainable,
		loss: func(g *goldenRun, batch string) (torch.Tensor, map[string]torch.Tensor) {
			e1 := embed(g.s, g.inputs(batch+"video1."))
			e2 := embed(g.s, g.inputs(batch+"video2."))
			l := PairLoss(g.s, e1, e2, tensorOf(g.s, g.x.Of(g.t, batch+"labels")))
			g.compareFirst(map[string]torch.Tensor{
				"embedding1": e1, "embedding2": e2, "similarity": l.Similarity,
				"normalized1": l.Normalized1, "normalized2": l.Normalized2,
			})
			return l.Total, map[string]torch.Tensor{
				"loss": l.Total, "sup_loss": l.Supervised, "unsup_loss1": l.Unsupervised1, "unsup_loss2": l.Unsupervised2,
			}
		},
	}
}

// goldenRun is one published run being repeated, on the engine's thread.
type goldenRun struct {
	t    *testing.T
	s    *torch.Scope
	info *testkit.FileInfo
	x    testkit.Tensors
	p    *nn.Params
	opt  *BertAdam
	step int // taken so far
}

// openGolden loads a fixture's network as it was before its first step.
func openGolden(t *testing.T, s *torch.Scope, file string) (*goldenRun, goldenNet) {
	info := testkit.ReadManifest(t).File(t, file)
	o := info.Optimizer
	if o == nil || o.Kind != "BertAdam" {
		t.Fatalf("%s: the manifest names no BertAdam run", file)
	}
	assertConstants(t, o.B1, o.B2, o.Epsilon, o.ClipNorm)
	g := &goldenRun{t: t, s: s, info: info, x: testkit.Fixture(t, file), p: nn.NewParams(s, nn.Options{Blank: true})}
	net := goldenNets[file](goldenConfig(t, info.Sizes), g.p)
	g.loadWeights()
	g.p.SetTrainable(net.trainable)
	g.p.SetTraining(true)
	g.opt = NewBertAdam(s, Schedule{Peak: o.LR, Warmup: o.Warmup, Total: int(o.TTotal)})
	for _, e := range g.p.All() {
		if e.Tensor.RequiresGrad() {
			g.opt.Add(e.Name, e.Tensor, Decays(e.Name))
		}
	}
	return g, net
}

func trainGolden(t *testing.T, file string) {
	onEngine(t, func(s *torch.Scope) {
		g, net := openGolden(t, s, file)
		g.checkTrainable()
		g.run(net)
	})
}

func (g *goldenRun) run(net goldenNet) {
	steps := int(g.x.Of(g.t, "train.loss_per_step").Shape[0])
	batches := g.batches()
	for g.step < steps {
		total, parts := net.loss(g, batches[g.step%len(batches)])
		for name, part := range parts {
			want := g.x.Of(g.t, "train."+name+"_per_step").Float32s()[g.step : g.step+1]
			testkit.Close(g.t, fmt.Sprintf("step %d, %s", g.step, name), part.Float32s(), want, valueGate)
		}
		total.Backward()
		if g.step == 0 {
			g.checkGradients()
		}
		if got, want := g.opt.LearningRate()/g.info.Optimizer.LR, g.factor(); math.Abs(got-want) > 1e-9 {
			g.t.Errorf("step %d: rate factor %v, want %v", g.step, got, want)
		}
		g.opt.Step(g.s)
		g.step++
		g.checkState()
	}
}

// factor is the published multiplier of the learning rate, where there is one.
func (g *goldenRun) factor() float64 {
	if f := g.info.Optimizer.Factors; g.step < len(f) {
		return f[g.step]
	}
	return g.opt.LearningRate() / g.info.Optimizer.LR
}

// batches are the prefixes "batch0.", "batch1.", … that the fixture has.
func (g *goldenRun) batches() []string {
	var out []string
	for _, prefix := range prefixes(g.x) {
		if regexp.MustCompile(`^batch\d+$`).MatchString(prefix) {
			out = append(out, prefix+".")
		}
	}
	if len(out) == 0 {
		g.t.Fatal("the fixture has no batch")
	}
	return out
}

func (g *goldenRun) loadWeights() {
	var stored []bundle.NamedTensor
	for _, w := range g.x.Under("weights/") {
		stored = append(stored, w.Stored())
	}
	if err := g.p.Load(stored); err != nil {
		g.t.Fatal(err)
	}
}

// checkTrainable compares what is trained with the manifest's lists, where it
// has them.
func (g *goldenRun) checkTrainable() {
	for want, names := range map[bool][]string{true: g.info.Trainable, false: g.info.Frozen} {
		for _, name := range names {
			if p := g.p.Get(name); !p.Defined() || p.RequiresGrad() != want {
				g.t.Errorf("%s: trainable should be %v", name, want)
			}
		}
	}
}

// compareFirst compares intermediate values of the first step.
func (g *goldenRun) compareFirst(values map[string]torch.Tensor) {
	if g.step > 0 {
		return
	}
	for name, got := range values {
		testkit.Close(g.t, "step 0, "+name, got.Float32s(), g.x.Of(g.t, "train.step0."+name).Float32s(), valueGate)
	}
}

// checkGradients compares every parameter's gradient: each has a published one
// or stands in the list of those without.
func (g *goldenRun) checkGradients() {
	compared := 0
	for _, e := range g.p.All() {
		if e.Buffer {
			continue
		}
		grad := torch.Grad(g.s, e.Tensor)
		if slices.Contains(g.info.NoGradient, e.Name) {
			if grad.Defined() {
				g.t.Errorf("%s has a gradient and should have none", e.Name)
			}
			continue
		}
		if !grad.Defined() {
			g.t.Errorf("%s has no gradient", e.Name)
			continue
		}
		gradClose(g.t, "gradient of "+e.Name, grad.Float32s(), g.x.Of(g.t, "grad/"+e.Name).Float32s())
		compared++
	}
	if want := len(g.x.Under("grad/")); compared != want {
		g.t.Errorf("compared %d gradients, the fixture has %d", compared, want)
	}
}

// checkState compares whatever the fixture stores about the state after this
// many steps: after<k>/, opt_m<k>/ and opt_v<k>/.
func (g *goldenRun) checkState() {
	k := strconv.Itoa(g.step)
	for name, want := range g.x.Under("after" + k + "/") {
		g.checkValue(name, want)
	}
	if g.step == 1 && g.opt.schedule.Rate(0) == 0 {
		g.checkNothingMoved()
	}
	means, squares := g.x.Under("opt_m"+k+"/"), g.x.Under("opt_v"+k+"/")
	for _, slot := range g.opt.slots {
		if want, ok := means[slot.name]; ok {
			momentClose(g.t, "m"+k+" of "+slot.name, slot.mean.Float32s(), want.Float32s())
			delete(means, slot.name)
		}
		if want, ok := squares[slot.name]; ok {
			momentClose(g.t, "v"+k+" of "+slot.name, slot.meanSquare.Float32s(), want.Float32s())
			delete(squares, slot.name)
		}
	}
	if len(means)+len(squares) != 0 {
		g.t.Errorf("step %d: moments of %d parameters were not compared", g.step, len(means)+len(squares))
	}
}

// checkNothingMoved holds after a step of rate 0, whose parameters the fixture
// does not repeat.
func (g *goldenRun) checkNothingMoved() {
	for name, want := range g.x.Under("weights/") {
		if !g.p.IsBuffer(name) && !slices.Equal(g.p.Get(name).Float32s(), want.Float32s()) {
			g.t.Errorf("%s moved in a step of learning rate 0", name)
		}
	}
}

// checkValue compares a parameter by how far it moved, in learning rates, and
// a buffer by its value.
func (g *goldenRun) checkValue(name string, want testkit.Tensor) {
	tensor := g.p.Get(name)
	if !tensor.Defined() {
		g.t.Errorf("the network has no %s", name)
		return
	}
	if want.DType == "int64" {
		if got := tensor.Int64s(); !slices.Equal(got, want.Int64s()) {
			g.t.Errorf("step %d, %s: got %v, want %v", g.step, name, got, want.Int64s())
		}
		return
	}
	got, target := tensor.Float32s(), want.Float32s()
	if g.p.IsBuffer(name) {
		testkit.Close(g.t, fmt.Sprintf("step %d, %s", g.step, name), got, target, valueGate)
		return
	}
	// Both moved from the same values, so the difference of the values is the
	// difference of the movements.
	for i := range target {
		if off := math.Abs(float64(got[i])-float64(target[i])) / g.info.Optimizer.LR; !(off <= stepGate) {
			g.t.Errorf("step %d, %s[%d]: off by %.3f learning rates", g.step, name, i, off)
			return
		}
	}
}

// momentClose compares moments as gradients are compared: relative to the
// largest, with the floor that a gradient's square or tenth has.
func momentClose(t *testing.T, name string, got, want []float32) {
	t.Helper()
	testkit.Close(t, name, got, want, momentGate(want))
}

// momentGate widens the gate where all moments are so small that they are the
// rounding noise of gradients whose true value is 0.
func momentGate(want []float32) float64 {
	top := 0.0
	for _, w := range want {
		top = max(top, math.Abs(float64(w)))
	}
	if top == 0 {
		return gradGate
	}
	return gradGate * max(1, momentFloor/top)
}

const momentFloor = gradFloor * (1 - adamBeta1)

// goldenConfig is the config of a fixture, from the manifest's sizes alone.
func goldenConfig(t *testing.T, z testkit.Sizes) model.Config {
	t.Helper()
	n := func(name string) int { return z.Int(t, name) }
	cfg := model.Config{
		Text: model.TextConfig{
			Vocab: n("bert_vocab"), Hidden: n("bert_hidden"), Layers: n("bert_layers"), Heads: n("bert_heads"),
			Intermediate: n("bert_intermediate"), MaxPosition: n("bert_max_position"),
			TypeVocab: z.IntOr(t, "bert_type_vocab", 2), LayerNormEps: z.FloatOr(t, "bert_layer_norm_eps", 1e-12),
		},
		Video: model.VideoConfig{
			FrameDim: n("video_dim"), Depth: n("video_depth"), Heads: n("video_heads"), HeadDim: n("video_dim_head"),
			MLP: n("video_mlp"), LayerNormEps: z.FloatOr(t, "video_layer_norm_eps", nn.DefaultEps),
		},
		Cross: model.CrossConfig{
			Layers: n("cross_modal_layers"), Heads: n("cross_modal_heads"),
			Intermediate: z.IntOr(t, "cross_modal_intermediate", n("bert_intermediate")),
		},
		Tags: n("tags"), Embedding: n("final_embedding"), Frames: n("frames"),
		LateTokens: n("text_len_model1"), EarlyTokens: n("text_len_model2"),
	}.Reference()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// inputs reads a batch. Its text is that of whichever network the fixture is of.
func (g *goldenRun) inputs(batch string) *model.Inputs {
	in := &model.Inputs{}
	if _, ok := g.x[batch+"input_ids"]; ok {
		in.Late = model.Text{
			Tokens: tensorOf(g.s, g.x.Of(g.t, batch+"input_ids")),
			Types:  tensorOf(g.s, g.x.Of(g.t, batch+"token_type_ids")),
			Mask:   tensorOf(g.s, g.x.Of(g.t, batch+"attention_mask")),
		}
		in.Early = in.Late
	}
	if frames, ok := g.x[batch+"frames"]; ok {
		in.Frames = tensorOf(g.s, frames)
		mask := tensorOf(g.s, g.x.Of(g.t, batch+"frame_mask"))
		n := in.Frames.Size(1)
		in.FrameMask = torch.Narrow(g.s, mask, 1, mask.Size(1)-n, n) // without the class token
	}
	return in
}
