package trainer

import (
	"videosim/shared/nn"
	"videosim/shared/torch"
)

// snapshot is a copy of what training changes in a network: the parameters
// that are trained, and the buffers.
type snapshot []savedTensor

type savedTensor struct {
	name  string
	dtype torch.DType
	shape []int64
	data  []byte
}

func takeSnapshot(p *nn.Params) snapshot {
	var out snapshot
	for _, e := range p.All() {
		if t := e.Tensor; e.Buffer || t.RequiresGrad() {
			out = append(out, savedTensor{e.Name, t.DType(), t.Shape(), t.Bytes()})
		}
	}
	return out
}

// restore puts the values of a snapshot back.
func (x snapshot) restore(p *nn.Params) {
	for _, t := range x {
		s := torch.NewScope()
		p.Get(t.name).Copy(torch.FromBytes(s, t.dtype, t.data, t.shape...))
		s.Close()
	}
}
