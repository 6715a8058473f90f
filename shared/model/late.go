package model

import (
	"strings"

	"videosim/shared/nn"
	"videosim/shared/torch"
)

// Late is model one: each modality is encoded alone, and a gate mixes the two.
// Finetuning trains only what is to the right of the towers. (The reference's
// SIMNET 13.)
//
//	tokens (B,T) ─── TextNet ── (B,H) ── Linear ── t ─┬───────────────────┐
//	                                                  ├─ gate ── g ── g₁·v + g₂·t ── (B,256)
//	frames (B,F,D) ─ VideoNet ─ (B,D) ── Linear ── v ─┴───────────────────┘
type Late struct {
	params              *nn.Params
	Text                *TextNet
	Video               *VideoNet
	textProj, videoProj *nn.Linear
	gate                *nn.Gate
	embedding           int64
}

// LateOutput is the embedding and what it was made from.
type LateOutput struct {
	Text, Video torch.Tensor // projections (B,E)
	Gates       torch.Tensor // (B,2E), those of video first
	Embedding   torch.Tensor // (B,E), not normalised
}

// NewLate makes the network with new values. Its towers take those of the
// pretrained ones by Params().CopyFrom("text_model.", …) and ("video_model.", …).
func NewLate(cfg Config, p *nn.Params) *Late {
	at, head := p.Root(), p.Root().InFloat32()
	return &Late{
		params:    p,
		Text:      newTextNet(cfg, p, at.At("text_model")),
		Video:     newVideoNet(cfg, p, at.At("video_model")),
		videoProj: nn.NewLinear(head.At("video_embed"), cfg.Video.FrameDim, cfg.Embedding),
		textProj:  nn.NewLinear(head.At("text_embed"), cfg.Text.Hidden, cfg.Embedding),
		gate:      nn.NewGate(head.At("fusion_gate"), 2*cfg.Embedding),
		embedding: int64(cfg.Embedding),
	}
}

// Params returns the network's tensors.
func (m *Late) Params() *nn.Params { return m.params }

// Trainable reports whether finetuning changes the named parameter: the head,
// but neither tower.
func (m *Late) Trainable(name string) bool {
	return !strings.HasPrefix(name, "text_model.") && !strings.HasPrefix(name, "video_model.")
}

// Forward computes the embedding.
func (m *Late) Forward(s *torch.Scope, in *Inputs) LateOutput {
	text := torch.AsType(s, m.Text.Forward(s, in), torch.Float32) // (B,H)
	return m.Head(s, text, m.Video.Forward(s, in))
}

// Head computes the embedding from the towers' hidden states (B,H) and (B,D),
// in Float32 under autocast too.
func (m *Late) Head(s *torch.Scope, text, video torch.Tensor) (out LateOutput) {
	torch.Autocast(text.Device(), torch.Float32, func() { out = m.head(s, text, video) })
	return out
}

func (m *Late) head(s *torch.Scope, text, video torch.Tensor) LateOutput {
	t := m.textProj.Forward(s, text)                 // (B,E)
	v := m.videoProj.Forward(s, video)               // (B,E)
	g := m.gate.Forward(s, torch.Cat(s, 1, v, t))    // (B,2E)
	ofVideo := torch.Narrow(s, g, 1, 0, m.embedding) // (B,E)
	ofText := torch.Narrow(s, g, 1, m.embedding, m.embedding)
	mixed := torch.Add(s, torch.Mul(s, ofVideo, v), torch.Mul(s, ofText, t))
	return LateOutput{Text: t, Video: v, Gates: g, Embedding: mixed}
}
