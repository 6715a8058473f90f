package nn

import (
	"fmt"

	"videosim/shared/torch"
)

// VideoConfig sets the sizes of a VideoTransformer.
type VideoConfig struct {
	FrameDim, Depth, Heads, HeadDim, MLP int
	LayerNormEps, Dropout                float64
}

// VideoTransformer is a transformer over a set of frames: no positions, the
// norm before each part, none at the end. A learned class token stands first.
// The inner width Heads·HeadDim of attention need not be FrameDim.
//
//	x ─┬─ norm ─ attention ─ Linear ─ dropout ─ + ─┬─ norm ─ Linear ─ GELU ─ Linear ─ dropout ─ + ─
//	   └───────────────────────────────────────┘   └───────────────────────────────────────────┘
type VideoTransformer struct {
	class   torch.Tensor // (1,1,D)
	layers  []*videoLayer
	dropout float64
	mode    *mode
}

// NewVideoTransformer makes one at p.
func NewVideoTransformer(p Path, cfg VideoConfig) *VideoTransformer {
	v := &VideoTransformer{
		class:   p.Parameter("cls_token", UnitUniform, 1, 1, int64(cfg.FrameDim)),
		dropout: cfg.Dropout,
		mode:    p.params.mode,
	}
	for i := range cfg.Depth {
		v.layers = append(v.layers, newVideoLayer(p.At(fmt.Sprintf("layers.%d", i)), cfg))
	}
	return v
}

// Forward maps frames (B,F,D) to the class token and the frames, (B,1+F,D).
// mask (B,1,1,1+F) is added to the scores; without one every frame, padding
// too, is attended to.
func (v *VideoTransformer) Forward(s *torch.Scope, frames, mask torch.Tensor) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		class := torch.Expand(s, v.class, frames.Size(0), -1, -1)                         // (B,1,D)
		x := torch.Dropout(s, torch.Cat(s, 1, class, frames), v.dropout, v.mode.training) // (B,1+F,D)
		for _, l := range v.layers {
			x = s.Sub(func(s *torch.Scope) torch.Tensor { return l.forward(s, x, padded{mask}) })
		}
		return x
	})
}

type videoLayer struct {
	attentionNorm, mlpNorm *LayerNorm
	qkv, out, up, down     *Linear
	heads, inner           int64
	dropout                float64
	mode                   *mode
}

func newVideoLayer(p Path, cfg VideoConfig) *videoLayer {
	attention, mlp := p.At("0.fn"), p.At("1.fn")
	inner := cfg.Heads * cfg.HeadDim
	return &videoLayer{
		attentionNorm: NewLayerNorm(attention.At("norm"), cfg.FrameDim, cfg.LayerNormEps),
		qkv:           NewLinearNoBias(attention.At("fn.to_qkv"), cfg.FrameDim, 3*inner),
		out:           NewLinear(attention.At("fn.to_out.0"), inner, cfg.FrameDim),
		mlpNorm:       NewLayerNorm(mlp.At("norm"), cfg.FrameDim, cfg.LayerNormEps),
		up:            NewLinear(mlp.At("fn.net.0"), cfg.FrameDim, cfg.MLP),
		down:          NewLinear(mlp.At("fn.net.3"), cfg.MLP, cfg.FrameDim),
		heads:         int64(cfg.Heads),
		inner:         int64(inner),
		dropout:       cfg.Dropout,
		mode:          p.params.mode,
	}
}

// forward keeps the shape of x: (B,N,D), or packed (N,D).
func (l *videoLayer) forward(s *torch.Scope, x torch.Tensor, in Layout) torch.Tensor {
	qkv := l.qkv.Forward(s, l.attentionNorm.Forward(s, x)) // (B,N,3·inner)
	part := func(i int64) torch.Tensor { return torch.Narrow(s, qkv, -1, i*l.inner, l.inner) }
	a := in.attend(s, part(0), part(1), part(2), l.heads, 0) // (B,N,inner)
	x = l.out.residual(s, a, x, l.dropout, l.mode.training)  // (B,N,D)
	f := l.up.ForwardGELU(s, l.mlpNorm.Forward(s, x))        // (B,N,MLP)
	f = torch.Dropout(s, f, l.dropout, l.mode.training)
	return l.down.residual(s, f, x, l.dropout, l.mode.training)
}
