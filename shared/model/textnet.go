package model

import (
	"videosim/shared/nn"
	"videosim/shared/torch"
)

// TextNet encodes title and speech text. It is pretrained alone, on tags, and
// then becomes the text tower of Late. (The reference's TEXTNET.)
//
//	tokens (B,T) ── BERT ── position 0 ── (B,H) ─┬─ hidden
//	                                             └─ relu ─ Linear ── tag logits (B,tags)
type TextNet struct {
	params *nn.Params
	bert   *nn.BERT
	cls    *nn.Linear
	dtype  torch.DType
}

// NewTextNet makes the network with new values.
func NewTextNet(cfg Config, p *nn.Params) *TextNet { return newTextNet(cfg, p, p.Root()) }

func newTextNet(cfg Config, p *nn.Params, at nn.Path) *TextNet {
	return &TextNet{
		params: p,
		bert:   nn.NewBERT(at.At("text_model"), cfg.Text.bert()),
		cls:    nn.NewLinear(at.At("cls"), cfg.Text.Hidden, cfg.Tags),
		dtype:  p.DType(),
	}
}

// Params returns the network's tensors.
func (m *TextNet) Params() *nn.Params { return m.params }

// Forward returns the hidden state (B,H) that stands for the text.
func (m *TextNet) Forward(s *torch.Scope, in *Inputs) torch.Tensor {
	t := in.Late
	words := m.bert.Words(s, t.Tokens)                         // (B,T,H)
	mask := nn.AttentionMask(s, t.Mask, m.dtype)               // (B,1,1,T)
	places := places(s, t.Tokens)                              // (T)
	return m.bert.EncodeFirst(s, words, t.Types, places, mask) // (B,H)
}

// Logits returns the tag logits (B,tags), in Float32, of a hidden state (B,H).
// The relu is only here: the hidden state is used elsewhere without.
func (m *TextNet) Logits(s *torch.Scope, hidden torch.Tensor) torch.Tensor {
	return torch.AsType(s, m.cls.Forward(s, torch.ReLU(s, hidden)), torch.Float32)
}

// sequence returns the states of all positions (B,T,H).
func (m *TextNet) sequence(s *torch.Scope, t Text) torch.Tensor {
	mask := nn.AttentionMask(s, t.Mask, m.dtype)
	return m.bert.Encode(s, m.bert.Words(s, t.Tokens), t.Types, places(s, t.Tokens), mask)
}

// places returns the positions 0 … T-1 of tokens (B,T).
func places(s *torch.Scope, tokens torch.Tensor) torch.Tensor {
	return torch.Arange(s, tokens.Size(1), tokens.Device())
}
