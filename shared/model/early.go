package model

import (
	"strings"

	"videosim/shared/nn"
	"videosim/shared/torch"
)

// Early is model two before finetuning, pretrained on tags: title and frames
// go through one encoder together, so words can attend to frames. (The
// reference's MULTIBERT.)
//
//	tokens (B,T) ─── BERT ─ norm ── (B,T,H) ─┐                               ┌─ position 0 ───┐
//	                                         ├─ (B,T+F,H) ─ cross-modal BERT ┤                ├─ (B,2H) ─┬─ hidden
//	frames (B,F,D) ─ Linear ─────── (B,F,H) ─┘  type 0 and 1                 └─ mean of frames┘          └─ Linear ── tag logits
type Early struct {
	params *nn.Params
	text   *nn.BERT
	norm   *nn.LayerNorm
	visual *nn.Linear
	cross  *nn.BERT
	cls    *nn.Linear
	dtype  torch.DType
	// frames stand at the positions from here on, however short the title
	firstFrame int64
}

// EarlyOutput is the hidden state and what it was made from.
type EarlyOutput struct {
	Text   torch.Tensor // (B,T,H), the title's states after the norm
	Frames torch.Tensor // (B,F,H), the frames' states after the cross-modal encoder
	Hidden torch.Tensor // (B,2H): position 0, then the mean of the real frames
}

// frameType is the token type of frames; text has 0.
const frameType = 1

// NewEarly makes the network with new values.
func NewEarly(cfg Config, p *nn.Params) *Early { return newEarly(cfg, p, p.Root()) }

func newEarly(cfg Config, p *nn.Params, at nn.Path) *Early {
	hidden := cfg.Text.Hidden
	return &Early{
		params:     p,
		text:       nn.NewBERT(at.At("text_model"), cfg.Text.bert()),
		norm:       nn.NewLayerNorm(at.At("text_ln"), hidden, nn.DefaultEps),
		visual:     nn.NewLinear(at.At("visual_embeddings"), cfg.Video.FrameDim, hidden),
		cross:      nn.NewBERT(at.At("multi_bert"), cfg.cross()),
		cls:        nn.NewLinear(at.At("cls"), 2*hidden, cfg.Tags),
		dtype:      p.DType(),
		firstFrame: int64(cfg.EarlyTokens),
	}
}

// Params returns the network's tensors.
func (m *Early) Params() *nn.Params { return m.params }

// Forward returns the hidden state (B,2H) that stands for title and frames.
func (m *Early) Forward(s *torch.Scope, in *Inputs) torch.Tensor { return m.run(s, in).Hidden }

// Logits returns the tag logits (B,tags), in Float32, of a hidden state (B,2H).
func (m *Early) Logits(s *torch.Scope, hidden torch.Tensor) torch.Tensor {
	return torch.AsType(s, m.cls.Forward(s, torch.AsType(s, hidden, m.dtype)), torch.Float32)
}

func (m *Early) run(s *torch.Scope, in *Inputs) EarlyOutput { return m.Join(s, in, m.Towers(s, in)) }

// EarlyTowers are title and frames before they meet. Finetuning changes neither
// tower, so it may compute them once, without a graph.
type EarlyTowers struct {
	Text   torch.Tensor // (B,T,H)
	Frames torch.Tensor // (B,F,H)
}

// Towers encodes title and frames apart.
func (m *Early) Towers(s *torch.Scope, in *Inputs) EarlyTowers {
	return EarlyTowers{Text: m.title(s, in.Early), Frames: m.visual.Forward(s, in.Frames)}
}

// Join runs the cross-modal encoder over both towers of the same inputs.
func (m *Early) Join(s *torch.Scope, in *Inputs, towers EarlyTowers) EarlyOutput {
	t, v := towers.Text.Size(1), towers.Frames.Size(1)
	both := torch.Cat(s, 1, towers.Text, towers.Frames)             // (B,T+F,H)
	mask := torch.Cat(s, 1, in.Early.Mask, in.FrameMask)            // (B,T+F)
	types := torch.Cat(s, 1, in.Early.Types, m.types(s, in.Frames)) // (B,T+F)
	bias := nn.AttentionMask(s, mask, m.dtype)                      // (B,1,1,T+F)
	out := m.cross.Encode(s, both, types, m.places(s, t, v, both.Device()), bias)
	first := torch.AsType(s, nn.First(s, out), torch.Float32) // (B,H)
	frames := torch.Narrow(s, out, 1, t, v)                   // (B,F,H)
	mean := nn.MaskedMean(s, frames, in.FrameMask)            // (B,H)
	return EarlyOutput{Text: towers.Text, Frames: frames, Hidden: torch.Cat(s, 1, first, mean)}
}

// title encodes the title alone (B,T,H). Its types are all 0.
func (m *Early) title(s *torch.Scope, t Text) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		none := torch.Zeros(s, torch.Int64, t.Tokens.Device(), t.Tokens.Size(0), t.Tokens.Size(1))
		mask := nn.AttentionMask(s, t.Mask, m.dtype)
		return m.norm.Forward(s, m.text.Encode(s, m.text.Words(s, t.Tokens), none, places(s, t.Tokens), mask))
	})
}

// types are those of frames (B,F,D): (B,F).
func (m *Early) types(s *torch.Scope, frames torch.Tensor) torch.Tensor {
	return torch.Full(s, frameType, torch.Int64, frames.Device(), frames.Size(0), frames.Size(1))
}

// places are the positions (T+F) of text and frames. Those of frames do not
// depend on the text's length, so padding less text changes no result.
func (m *Early) places(s *torch.Scope, t, f int64, device torch.Device) torch.Tensor {
	all := torch.Arange(s, m.firstFrame+f, device)
	return torch.Cat(s, 0, torch.Narrow(s, all, 0, 0, t), torch.Narrow(s, all, 0, m.firstFrame, f))
}

// EarlyFinetuned is model two: Early with a gate and a projection in place of
// tags. (The reference's SIMNET of MULTIBERT.)
//
//	title, frames ── Early ── e (B,2H) ─┬───────────┐
//	                                    └─ gate ─ g·e ── Linear ── (B,256)
type EarlyFinetuned struct {
	params  *nn.Params
	Encoder *Early
	gate    *nn.Gate
	proj    *nn.Linear
}

// EarlyFinetunedOutput is the embedding and what it was made from.
type EarlyFinetunedOutput struct {
	Encoder   EarlyOutput
	Gates     torch.Tensor // (B,2H)
	Gated     torch.Tensor // (B,2H)
	Embedding torch.Tensor // (B,E), not normalised
}

// NewEarlyFinetuned makes the network with new values. The encoder takes those
// of a pretrained one by Params().CopyFrom("bert.", …).
func NewEarlyFinetuned(cfg Config, p *nn.Params) *EarlyFinetuned {
	head := p.Root().InFloat32()
	return &EarlyFinetuned{
		params:  p,
		Encoder: newEarly(cfg, p, p.Root().At("bert")),
		gate:    nn.NewGate(head.At("fusion_gate"), 2*cfg.Text.Hidden),
		proj:    nn.NewLinear(head.At("embed"), 2*cfg.Text.Hidden, cfg.Embedding),
	}
}

// Params returns the network's tensors.
func (m *EarlyFinetuned) Params() *nn.Params { return m.params }

// Trainable reports whether finetuning changes the named parameter: of the
// encoder only its cross-modal part, and all that follows.
func (m *EarlyFinetuned) Trainable(name string) bool {
	return !strings.HasPrefix(name, "bert.") || strings.HasPrefix(name, "bert.multi_bert.")
}

// Forward computes the embedding.
func (m *EarlyFinetuned) Forward(s *torch.Scope, in *Inputs) EarlyFinetunedOutput {
	return m.Head(s, m.Encoder.run(s, in))
}

// Head computes the embedding from what the encoder made, in Float32 under
// autocast too.
func (m *EarlyFinetuned) Head(s *torch.Scope, e EarlyOutput) (out EarlyFinetunedOutput) {
	torch.Autocast(e.Hidden.Device(), torch.Float32, func() { out = m.head(s, e) })
	return out
}

func (m *EarlyFinetuned) head(s *torch.Scope, e EarlyOutput) EarlyFinetunedOutput {
	gates := m.gate.Forward(s, e.Hidden)   // (B,2H)
	gated := torch.Mul(s, e.Hidden, gates) // (B,2H)
	return EarlyFinetunedOutput{Encoder: e, Gates: gates, Gated: gated, Embedding: m.proj.Forward(s, gated)}
}
