package model

import (
	"videosim/shared/nn"
	"videosim/shared/torch"
)

// The forward passes of both models over a packed batch, for inference. They
// compute what Forward computes, without padding and without the positions of
// a last layer that nothing reads.

func (m *Late) forwardPacked(s *torch.Scope, in *packedInputs) torch.Tensor {
	text := torch.AsType(s, m.Text.forwardPacked(s, in.late), torch.Float32) // (B,H)
	return m.Head(s, text, m.Video.forwardPacked(s, in)).Embedding           // (B,E)
}

func (m *TextNet) forwardPacked(s *torch.Scope, t packedText) torch.Tensor {
	words := m.bert.Words(s, t.tokens)                                         // (N,H)
	return m.bert.EncodePacked(s, words, t.types, t.places, t.first, t.layout) // (B,H)
}

func (m *VideoNet) forwardPacked(s *torch.Scope, in *packedInputs) torch.Tensor {
	states := m.transformer.ForwardPacked(s, in.frames, in.videoRows, in.videoLayout) // (N,D)
	return nn.Rows(s, in.video.Mean(s, states), in.framesBack)                        // (B,D)
}

func (m *EarlyFinetuned) forwardPacked(s *torch.Scope, in *packedInputs) torch.Tensor {
	return m.Head(s, EarlyOutput{Hidden: m.Encoder.forwardPacked(s, in)}).Embedding // (B,E)
}

// forwardPacked returns the hidden state (B,2H).
func (m *Early) forwardPacked(s *torch.Scope, in *packedInputs) torch.Tensor {
	both := torch.Cat(s, 0, m.titlePacked(s, in.early), m.visual.Forward(s, in.frames)) // (titles+frames,H)
	x := nn.Rows(s, both, in.crossRows)                                                 // (N,H)
	x = m.cross.EncodePacked(s, x, in.crossTypes, in.crossPlaces, in.crossKeep, in.crossLayout)
	videos := in.framesBack.Size(0)
	first := torch.AsType(s, torch.Narrow(s, x, 0, 0, videos), torch.Float32) // (B,H)
	frames := torch.Narrow(s, x, 0, videos, x.Size(0)-videos)                 // (F,H)
	mean := nn.Rows(s, in.crossFrames.Mean(s, frames), in.framesBack)         // (B,H)
	return torch.Cat(s, 1, first, mean)
}

// titlePacked encodes the titles alone (N,H). Their types are all 0.
func (m *Early) titlePacked(s *torch.Scope, t packedText) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		none := torch.Zeros(s, torch.Int64, t.tokens.Device(), t.tokens.Size(0))
		x := m.text.EncodePacked(s, m.text.Words(s, t.tokens), none, t.places, torch.Tensor{}, t.layout)
		return m.norm.Forward(s, x)
	})
}
