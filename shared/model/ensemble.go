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
	to     target
	staged *staged // nil: nothing is
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
	m := &Ensemble{Config: cfg, scope: torch.NewScope(), to: towards(e.Device(), e.DType())}
	err = e.Do(context.Background(), func(*torch.Scope) error {
		options := nn.Options{Device: m.to.device, DType: m.to.dtype, Blank: true}
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
	return &Ensemble{Config: cfg, Late: late, Early: early, scope: torch.NewScope(), to: towards(p.Device(), p.DType())}
}

// towards is where inputs go: a GPU wants few large calls, a CPU no padding at all.
func towards(device torch.Device, dtype torch.DType) target {
	return target{device: device, dtype: dtype, spread: device != torch.CPU}
}

// Embed computes both halves for a batch. It runs on the engine's thread, in
// the scope of one Engine.Do, and records no gradients. Networks in training
// mode are refused: dropout would make every embedding a random one.
func (m *Ensemble) Embed(s *torch.Scope, b *video.Batch) (Halves, error) {
	return m.EmbedMeanwhile(s, b, Meanwhile{})
}

// Meanwhile is what may be done on the engine's thread while a batch is computed.
// Either function may be nil.
type Meanwhile struct {
	// Next is for a GPU, which calls it once, when all work on the batch is queued.
	// It returns the batch that comes later, which is copied to the device while this
	// one is computed; a later call with that very batch finds it there. One that does
	// not fit is copied when its turn comes; nil leaves what is there.
	Next    func() *video.Batch
	Between Between // for a CPU, which calls it after each layer
}

// Between is told how many layers of a batch are done, and of how many. What it
// passes to embed is embedded there and then.
type Between func(done, total int, embed func(*video.Batch) (Halves, error))

// EmbedMeanwhile is Embed with room for more.
func (m *Ensemble) EmbedMeanwhile(s *torch.Scope, b *video.Batch, while Meanwhile) (Halves, error) {
	if m.Late.Params().Training() || m.Early.Params().Training() {
		return Halves{}, errs.New(errs.Internal, "embed: a network is in training mode")
	}
	var h Halves
	torch.NoGrad(func() {
		if while.Between != nil && !m.to.spread {
			done, total := 0, m.Config.layers()
			s.OnStep(func() {
				done++
				while.Between(done, total, m.embedBetween)
			})
			defer s.OnStep(nil)
		}
		h = m.embed(s, b, while.Next)
	})
	return h, nil
}

// embedBetween embeds b between two layers of another batch.
func (m *Ensemble) embedBetween(b *video.Batch) (h Halves, err error) {
	s := torch.NewScope()
	defer s.Close()
	if failure := torch.Try(func() { h = m.embed(s, b, nil) }); failure != nil {
		return Halves{}, failure
	}
	return h, nil
}

// embed computes no padding.
func (m *Ensemble) embed(s *torch.Scope, b *video.Batch, next func() *video.Batch) Halves {
	in, done := m.inputs(s, b)
	defer done()
	late := s.Sub(func(s *torch.Scope) torch.Tensor { return m.Late.forwardPacked(s, in) })
	early := s.Sub(func(s *torch.Scope) torch.Tensor { return m.Early.forwardPacked(s, in) })
	both := torch.Cat(s, 1, late, early) // (B,2E): reading waits for a GPU, so it is done once
	if next != nil && m.to.spread {
		m.stage(next())
	}
	h, e := Halves{}, m.Config.Embedding
	for _, row := range rows(both)[:b.Len()] {
		h.Late, h.Early = append(h.Late, row[:e:e]), append(h.Early, row[e:])
	}
	return h
}

// staged is a batch on the device, or on its way there.
type staged struct {
	batch   *video.Batch
	in      *packedInputs
	tensors *torch.Staged
}

// stage brings b to the device in place of what was staged before. Where there is
// no memory for it, nothing is staged: b will be tried, and halved, in its turn.
func (m *Ensemble) stage(b *video.Batch) {
	if b == nil {
		return
	}
	m.unstage()
	next := &staged{batch: b}
	failure := torch.Try(func() {
		next.tensors = torch.Stage(m.to.device, func(s *torch.Scope) { next.in = packInputs(s, m.Config, b, m.to) })
	})
	if failure == nil {
		m.staged = next
	}
}

func (m *Ensemble) unstage() {
	if m.staged != nil {
		m.staged.tensors.Close()
		m.staged = nil
	}
}

// inputs are those staged for b, or made now. done frees them.
func (m *Ensemble) inputs(s *torch.Scope, b *video.Batch) (in *packedInputs, done func()) {
	if m.staged == nil || m.staged.batch != b {
		return packInputs(s, m.Config, b, m.to), func() {}
	}
	m.staged.tensors.Join()
	ready := m.staged
	m.staged = nil
	return ready.in, ready.tensors.Close
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
func (m *Ensemble) Close() {
	m.unstage()
	m.scope.Close()
}
