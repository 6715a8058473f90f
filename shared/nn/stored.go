package nn

import (
	"fmt"
	"slices"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/torch"
)

// Set overwrites t with a stored tensor of equal shape, converting precision
// and device.
func Set(t torch.Tensor, stored bundle.NamedTensor) error {
	if shape := t.Shape(); !slices.Equal(shape, stored.Shape) {
		return errs.New(errs.Corrupt, "tensor %q: expected shape %v, found %v", stored.Name, shape, stored.Shape)
	}
	return set(t, stored)
}

// Source is t as a file stores it under name. Its bytes are read on the thread
// that writes the file, which must be the engine's.
func Source(name string, t torch.Tensor) bundle.SourceTensor {
	return bundle.SourceTensor{Name: name, DType: dtypeName(t.DType()), Shape: t.Shape(), Bytes: t.Bytes}
}

// LoadMatching sets every tensor that find has under prefix+name in the same
// shape, leaves the others as they are, and returns how many it set.
func (p *Params) LoadMatching(prefix string, find func(name string) (bundle.NamedTensor, bool)) (int, error) {
	n := 0
	for _, e := range p.all {
		stored, ok := find(prefix + e.Name)
		if !ok || !slices.Equal(stored.Shape, e.Tensor.Shape()) {
			continue
		}
		if err := set(e.Tensor, stored); err != nil {
			return n, fmt.Errorf("tensor %q: %w", stored.Name, err)
		}
		n++
	}
	return n, nil
}
