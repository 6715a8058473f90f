package model

import (
	"math"

	"videosim/shared/nn"
	"videosim/shared/torch"
)

// VideoNet encodes frames. It is pretrained alone, on tags, and then becomes
// the video tower of Late. (The reference's VIDEONET.)
//
//	frames (B,F,D) ── transformer ── (B,1+F,D) ── mean over class token and real frames ── (B,D) ─┬─ hidden
//	class token ──────┘                                                                          └─ Linear ── tag logits
type VideoNet struct {
	params        *nn.Params
	transformer   *nn.VideoTransformer
	cls           *nn.Linear
	dtype         torch.DType
	attendPadding bool
	frames        int64
}

// NewVideoNet makes the network with new values.
func NewVideoNet(cfg Config, p *nn.Params) *VideoNet { return newVideoNet(cfg, p, p.Root()) }

func newVideoNet(cfg Config, p *nn.Params, at nn.Path) *VideoNet {
	return &VideoNet{
		params:        p,
		transformer:   nn.NewVideoTransformer(at.At("video_model"), cfg.Video.transformer()),
		cls:           nn.NewLinear(at.At("cls"), cfg.Video.FrameDim, cfg.Tags),
		dtype:         p.DType(),
		attendPadding: cfg.AttendPaddingFrames,
		frames:        int64(cfg.Frames),
	}
}

// Params returns the network's tensors.
func (m *VideoNet) Params() *nn.Params { return m.params }

// Forward returns the hidden state (B,D) that stands for the frames.
func (m *VideoNet) Forward(s *torch.Scope, in *Inputs) torch.Tensor {
	mask := m.withClass(s, in.FrameMask)                   // (B,1+F)
	return nn.MaskedMean(s, m.sequence(s, in, mask), mask) // (B,D)
}

// Logits returns the tag logits (B,tags), in Float32, of a hidden state (B,D).
func (m *VideoNet) Logits(s *torch.Scope, hidden torch.Tensor) torch.Tensor {
	return torch.AsType(s, m.cls.Forward(s, torch.AsType(s, hidden, m.dtype)), torch.Float32)
}

// sequence returns the states of class token and frames (B,1+F,D).
func (m *VideoNet) sequence(s *torch.Scope, in *Inputs, mask torch.Tensor) torch.Tensor {
	switch missing := m.frames - in.Frames.Size(1); {
	case !m.attendPadding:
		return m.transformer.Forward(s, in.Frames, nn.AttentionMask(s, mask, m.dtype))
	case missing <= 0:
		return m.transformer.Forward(s, in.Frames, torch.Tensor{})
	default:
		return m.countPadding(s, in.Frames, missing)
	}
}

// countPadding gives the result of frames padded with missing more zeros. All
// padding frames have the same state in every layer, since nothing tells them
// apart, so one that the softmax counts missing times stands for them:
// e^(score + ln missing) = missing · e^score.
func (m *VideoNet) countPadding(s *torch.Scope, frames torch.Tensor, missing int64) torch.Tensor {
	b, f, d := frames.Size(0), frames.Size(1), frames.Size(2)
	device := frames.Device()
	one := torch.Zeros(s, m.dtype, device, b, 1, d)
	frames = torch.Cat(s, 1, frames, one) // (B,F+1,D)
	bias := torch.Cat(s, 3, torch.Zeros(s, m.dtype, device, 1, 1, 1, 1+f),
		torch.Full(s, math.Log(float64(missing)), m.dtype, device, 1, 1, 1, 1)) // (1,1,1,F+2)
	return torch.Narrow(s, m.transformer.Forward(s, frames, bias), 1, 0, 1+f)
}

// withClass puts the class token, which is always real, before a mask (B,F).
func (m *VideoNet) withClass(s *torch.Scope, mask torch.Tensor) torch.Tensor {
	return torch.Cat(s, 1, torch.Full(s, 1, torch.Int64, mask.Device(), mask.Size(0), 1), mask)
}
