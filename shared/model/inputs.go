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
	in.FrameMask = torch.Upload(s, b.FrameMask(0), torch.Int64, device, n, f)
	in.Frames = s.Sub(func(s *torch.Scope) torch.Tensor {
		var frames torch.Tensor
		if b.Float != nil {
			frames = torch.Upload(s, b.Float, torch.Float32, device, n, f, d)
		} else {
			frames = torch.Upload(s, b.Half, torch.Float16, device, n, f, d)
		}
		return torch.AsType(s, frames, dtype)
	})
	return in
}

func newText(s *torch.Scope, t video.Tokens, n int64, device torch.Device) Text {
	table := func(values []int64) torch.Tensor {
		return torch.Upload(s, values, torch.Int64, device, n, int64(t.Len))
	}
	return Text{Tokens: table(t.IDs), Types: table(t.Types), Mask: table(t.Mask)}
}
