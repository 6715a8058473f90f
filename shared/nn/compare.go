package nn

import (
	"videosim/shared/bundle"
	"videosim/shared/bundle/checkpoint"
)

// Want lists the names and shapes of all tensors, in order.
func (p *Params) Want() []checkpoint.Want {
	want := make([]checkpoint.Want, len(p.all))
	for i, e := range p.all {
		want[i] = checkpoint.Want{Name: e.Name, Shape: e.Tensor.Shape()}
	}
	return want
}

// compare checks that the stored tensors have exactly the names and shapes of p.
func (p *Params) compare(stored []bundle.NamedTensor) error {
	return checkpoint.Compare(p.Want(), stored)
}
