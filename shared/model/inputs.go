package model

import (
	"videosim/shared/torch"
	"videosim/shared/video"
)

// Text is one batch of tokenised text.
type Text struct {
	Tokens torch.Tensor // (B,T) int64
	Types  torch.Tensor // (B,T) int64, 0 for the first text and padding, 1 for the second text
	Mask   torch.Tensor // (B,T) int64, 1 for a token, 0 for padding
}

// Inputs are what both models read. Lengths may differ from batch to batch: T
// and F are at most those of the config.
type Inputs struct {
	Late, Early Text
	Frames      torch.Tensor // (B,F,D) in the network's dtype, zeros in the padding
	FrameMask   torch.Tensor // (B,F) int64, 1 for a frame, 0 for padding
}

// NewInputs copies a batch to the device. Frames travel as they came, half
// precision as half precision, and are converted to dtype there.
func NewInputs(s *torch.Scope, b *video.Batch, device torch.Device, dtype torch.DType) *Inputs {
	n, f, d := int64(b.Len()), int64(b.FrameLen), int64(b.FrameDim)
	in := &Inputs{
		Late:  newText(s, b.Late, n, device),
		Early: newText(s, b.Early, n, device),
	}
	in.FrameMask = torch.To(s, torch.FromInt64s(s, b.FrameMask(0), n, f), torch.Int64, device)
	in.Frames = s.Sub(func(s *torch.Scope) torch.Tensor {
		var frames torch.Tensor
		if b.Float != nil {
			frames = torch.FromFloat32s(s, b.Float, n, f, d)
		} else {
			frames = torch.FromUint16s(s, torch.Float16, b.Half, n, f, d)
		}
		return torch.AsType(s, torch.To(s, frames, frames.DType(), device), dtype)
	})
	return in
}

func newText(s *torch.Scope, t video.Tokens, n int64, device torch.Device) Text {
	table := func(values []int64) torch.Tensor {
		return torch.To(s, torch.FromInt64s(s, values, n, int64(t.Len)), torch.Int64, device)
	}
	return Text{Tokens: table(t.IDs), Types: table(t.Types), Mask: table(t.Mask)}
}
