package nn

import (
	"fmt"
	"slices"
	"strings"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/torch"
)

// Options say where and how parameters are kept.
type Options struct {
	Device torch.Device
	DType  torch.DType // of the parameters; the zero value means Float32
	// Blank leaves the values undefined, for a Load that sets them all:
	// drawing 500 million random numbers first takes seconds.
	Blank bool
}

// Params are the named tensors of one network, in the order in which its
// layers were made: parameters, which training changes, and buffers, which
// batch normalisation keeps. Names are those of the published checkpoints.
type Params struct {
	scope   *torch.Scope
	options Options
	mode    *mode
	all     []Param
	byName  map[string]int
	linears []*Linear // those that are in the network's precision
}

// Param is one entry of Params.
type Param struct {
	Name   string
	Tensor torch.Tensor
	Buffer bool
}

// mode is shared by all layers of a network.
type mode struct{ training bool }

// NewParams makes an empty registry whose tensors live in s.
func NewParams(s *torch.Scope, o Options) *Params {
	if o.DType == 0 {
		o.DType = torch.Float32
	}
	return &Params{scope: s, options: o, mode: &mode{}, byName: map[string]int{}}
}

// Root is the Path at which names have no prefix.
func (p *Params) Root() Path { return Path{params: p, dtype: p.options.DType} }

// All returns the tensors in the order in which they were made.
func (p *Params) All() []Param { return p.all }

// Names lists all names, in the same order.
func (p *Params) Names() []string {
	names := make([]string, len(p.all))
	for i, e := range p.all {
		names[i] = e.Name
	}
	return names
}

// Get returns the named tensor, or the zero Tensor.
func (p *Params) Get(name string) torch.Tensor {
	if i, ok := p.byName[name]; ok {
		return p.all[i].Tensor
	}
	return torch.Tensor{}
}

// IsBuffer reports whether name is a buffer: saved with the network, never
// trained by gradients.
func (p *Params) IsBuffer(name string) bool {
	i, ok := p.byName[name]
	return ok && p.all[i].Buffer
}

// DType is the element type that parameters were asked to have.
func (p *Params) DType() torch.DType { return p.options.DType }

// Device is where the parameters live.
func (p *Params) Device() torch.Device { return p.options.Device }

// SetTraining switches dropout and batch statistics on or off for the network.
func (p *Params) SetTraining(on bool) { p.mode.training = on }

// Training reports what SetTraining set.
func (p *Params) Training() bool { return p.mode.training }

// SetTrainable lets gradients reach exactly the parameters for which f holds.
func (p *Params) SetTrainable(f func(name string) bool) {
	for _, e := range p.all {
		if !e.Buffer {
			e.Tensor.SetRequiresGrad(f(e.Name))
		}
	}
}

// Count returns the number of values, buffers left out.
func (p *Params) Count() int64 {
	n := int64(0)
	for _, e := range p.all {
		if !e.Buffer {
			n += e.Tensor.Elements()
		}
	}
	return n
}

// Load sets every tensor from the stored one of the same name, converting to
// the precision of p. On any missing, additional or misshapen name it changes
// nothing and returns a Corrupt error that lists what was expected, what was
// found, and the nearest name.
func (p *Params) Load(stored []bundle.NamedTensor) error {
	byName := make(map[string]bundle.NamedTensor, len(stored))
	for _, t := range stored {
		byName[t.Name] = t
	}
	if err := p.compare(stored); err != nil {
		return err
	}
	for _, e := range p.all {
		if err := set(e.Tensor, byName[e.Name]); err != nil {
			return errs.New(errs.Corrupt, "tensor %q: %w", e.Name, err)
		}
	}
	return nil
}

func set(t torch.Tensor, stored bundle.NamedTensor) error {
	dtype, ok := dtypes[stored.DType]
	if !ok {
		return fmt.Errorf("dtype %s is not supported", stored.DType)
	}
	if size := int64(dtype.Size()) * t.Elements(); size != int64(len(stored.Data)) {
		return fmt.Errorf("%s %v needs %d bytes, found %d", stored.DType, stored.Shape, size, len(stored.Data))
	}
	s := torch.NewScope()
	defer s.Close()
	t.Copy(torch.FromBytes(s, dtype, stored.Data, stored.Shape...))
	return nil
}

// Pack brings the weights of the network's linear layers into the form in which
// the CPU multiplies fastest, in place, after Load and for good: Export, Load and
// training need the plain ones. Heads stay as they are.
func (p *Params) Pack() {
	for _, l := range p.linears {
		l.w.Pack()
	}
}

// Quantise is Pack to integers of 8 bits (torch.Weights.Quantise).
func (p *Params) Quantise() {
	for _, l := range p.linears {
		l.w.Quantise(p.scope)
	}
}

// Export returns copies of all tensors, as a bundle stores them.
func (p *Params) Export() []bundle.NamedTensor {
	out := make([]bundle.NamedTensor, len(p.all))
	for i, e := range p.all {
		out[i] = bundle.NamedTensor{
			Name: e.Name, DType: dtypeName(e.Tensor.DType()), Shape: e.Tensor.Shape(), Data: e.Tensor.Bytes(),
		}
	}
	return out
}

// dtypes are the element types under their names in safetensors files.
var dtypes = map[string]torch.DType{
	"F32": torch.Float32, "F16": torch.Float16, "BF16": torch.BFloat16, "F64": torch.Float64,
	"I64": torch.Int64, "I32": torch.Int32, "U8": torch.Uint8, "BOOL": torch.Bool,
}

func dtypeName(d torch.DType) string {
	for name, dtype := range dtypes {
		if dtype == d {
			return name
		}
	}
	panic("nn: no safetensors name for " + d.String())
}

// CopyFrom sets every tensor under prefix (with its dot, "" for all) from src,
// whose names lack the prefix, as when a pretrained network becomes a part of
// a finetuned one.
func (p *Params) CopyFrom(prefix string, src *Params) error {
	copied := 0
	for _, e := range p.all {
		name, under := strings.CutPrefix(e.Name, prefix)
		if !under {
			continue
		}
		from := src.Get(name)
		if !from.Defined() || !slices.Equal(from.Shape(), e.Tensor.Shape()) {
			return errs.New(errs.Invalid, "tensor %q: the source has no %q of shape %v", e.Name, name, e.Tensor.Shape())
		}
		e.Tensor.Copy(from)
		copied++
	}
	if copied != len(src.all) {
		return errs.New(errs.Invalid, "under %q there are %d tensors, the source has %d", prefix, copied, len(src.all))
	}
	return nil
}

// Path is a place in the tree of names, at which a layer makes its parameters.
type Path struct {
	params *Params
	prefix string
	dtype  torch.DType
	head   bool // InFloat32
}

// At is the path of a part: names of its tensors begin with name and a dot.
func (p Path) At(name string) Path {
	p.prefix += name + "."
	return p
}

// InFloat32 is the same path with parameters in Float32 whatever the network's
// precision: for small heads, where rounding costs accuracy and buys nothing.
func (p Path) InFloat32() Path {
	p.dtype, p.head = torch.Float32, true
	return p
}

// linear makes a layer, and notes it for Pack unless it is part of a head.
func (p Path) linear(w torch.Weights) *Linear {
	l := &Linear{w: w}
	if !p.head {
		p.params.linears = append(p.params.linears, l)
	}
	return l
}

// Parameter makes a trained tensor of the given shape.
func (p Path) Parameter(name string, init Init, shape ...int64) torch.Tensor {
	return p.register(name, false, p.dtype, init, shape)
}

// buffer makes a tensor that is kept but not trained. Statistics and counters
// never lose precision to the network's dtype.
func (p Path) buffer(name string, dtype torch.DType, init Init, shape ...int64) torch.Tensor {
	return p.register(name, true, dtype, init, shape)
}

func (p Path) register(name string, buffer bool, dtype torch.DType, init Init, shape []int64) torch.Tensor {
	name = p.prefix + name
	if _, twice := p.params.byName[name]; twice {
		panic("nn: two tensors called " + name)
	}
	t := torch.Empty(p.params.scope, dtype, p.params.options.Device, shape...)
	if !p.params.options.Blank {
		init(t)
	}
	p.params.byName[name] = len(p.params.all)
	p.params.all = append(p.params.all, Param{Name: name, Tensor: t, Buffer: buffer})
	return t
}
