package model

import (
	"context"
	"fmt"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/nn"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// Ensemble is both models of a bundle, loaded for inference. Its embedding of
// a video is the normalised sum of the two halves (eval.Combine).
type Ensemble struct {
	Config Config
	Late   *Late
	Early  *EarlyFinetuned
	scope  *torch.Scope
	device torch.Device
	dtype  torch.DType
}

// Halves are the embeddings of a batch by each model, not normalised: row i
// belongs to video i.
type Halves struct{ Late, Early [][]float32 }

// Open loads the models of b onto e's device, in e's precision. Weights that
// do not fit the bundle's config are Corrupt.
func Open(e *torch.Engine, b *bundle.Bundle) (*Ensemble, error) {
	cfg, err := ParseConfig(b.Config)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", b.Dir, err)
	}
	m := &Ensemble{Config: cfg, scope: torch.NewScope(), device: e.Device(), dtype: e.DType()}
	err = e.Do(context.Background(), func(*torch.Scope) error {
		options := nn.Options{Device: m.device, DType: m.dtype, Blank: true}
		m.Late = NewLate(cfg, nn.NewParams(m.scope, options))
		m.Early = NewEarlyFinetuned(cfg, nn.NewParams(m.scope, options))
		if err := load(b, "late", m.Late.Params()); err != nil {
			return err
		}
		if err := load(b, "early", m.Early.Params()); err != nil {
			return err
		}
		for _, p := range []*nn.Params{m.Late.Params(), m.Early.Params()} {
			switch {
			case e.Int8():
				p.Quantise()
			case e.PacksWeights():
				p.Pack()
			}
		}
		return nil
	})
	if err != nil {
		m.scope.Close()
		return nil, err
	}
	return m, nil
}

func load(b *bundle.Bundle, name string, p *nn.Params) error {
	file, err := b.Tensors(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := p.Load(file.All()); err != nil {
		return fmt.Errorf("%s: %w", file.Path, err)
	}
	return nil
}

// NewEnsemble wraps two networks that share a config, such as ones that have
// just been trained. They stay the caller's: Close leaves them alone.
func NewEnsemble(cfg Config, late *Late, early *EarlyFinetuned) *Ensemble {
	p := late.Params()
	return &Ensemble{Config: cfg, Late: late, Early: early, scope: torch.NewScope(), device: p.Device(), dtype: p.DType()}
}

// Embed computes both halves for a batch. It runs on the engine's thread, in
// the scope of one Engine.Do, and records no gradients. Networks in training
// mode are refused: dropout would make every embedding a random one.
func (m *Ensemble) Embed(s *torch.Scope, b *video.Batch) (Halves, error) {
	if m.Late.Params().Training() || m.Early.Params().Training() {
		return Halves{}, errs.New(errs.Internal, "embed: a network is in training mode")
	}
	var h Halves
	embed := m.embedPacked
	if m.device != torch.CPU {
		embed = m.embedPadded
	}
	torch.NoGrad(func() { h = embed(s, b) })
	return h, nil
}

// embedPacked computes no padding. A call of attention for each length costs
// microseconds on a CPU.
func (m *Ensemble) embedPacked(s *torch.Scope, b *video.Batch) Halves {
	in := packInputs(s, m.Config, b, m.device, m.dtype)
	late := s.Sub(func(s *torch.Scope) torch.Tensor { return m.Late.forwardPacked(s, in) })
	early := s.Sub(func(s *torch.Scope) torch.Tensor { return m.Early.forwardPacked(s, in) })
	return Halves{Late: rows(late)[:b.Len()], Early: rows(early)[:b.Len()]}
}

// embedPadded computes rows padded to the longest: few large calls, which is
// what a GPU wants. Batches of similar lengths keep the padding small.
func (m *Ensemble) embedPadded(s *torch.Scope, b *video.Batch) Halves {
	in := NewInputs(s, b, m.device, m.dtype)
	late := s.Sub(func(s *torch.Scope) torch.Tensor { return m.Late.Forward(s, in).Embedding })
	early := s.Sub(func(s *torch.Scope) torch.Tensor { return m.Early.Forward(s, in).Embedding })
	return Halves{Late: rows(late), Early: rows(early)}
}

// rows copies (B,E) out, one slice a row.
func rows(t torch.Tensor) [][]float32 {
	flat, width := t.Float32s(), int(t.Size(1))
	out := make([][]float32, t.Size(0))
	for i := range out {
		out[i] = flat[i*width : (i+1)*width : (i+1)*width]
	}
	return out
}

// Close frees the weights that Open loaded. No Embed may be running.
func (m *Ensemble) Close() { m.scope.Close() }
