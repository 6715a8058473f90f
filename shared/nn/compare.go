package nn

import (
	"videosim/shared/bundle"
	"videosim/shared/bundle/checkpoint"
)

// compare checks that the stored tensors have exactly the names and shapes of p.
func (p *Params) compare(stored []bundle.NamedTensor) error {
	want := make([]checkpoint.Want, len(p.all))
	for i, e := range p.all {
		want[i] = checkpoint.Want{Name: e.Name, Shape: e.Tensor.Shape()}
	}
	return checkpoint.Compare(want, stored)
}
