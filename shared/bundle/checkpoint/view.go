package checkpoint

import (
	"fmt"
	"math"

	"videosim/shared/bundle"
)

// view is a tensor: a part of a storage, in the order that its strides say.
type view struct {
	of             *storage
	offset         int64 // in values
	shape, strides []int64
}

// maxAxes is PyTorch's own limit on the axes of a tensor.
const maxAxes = 64

// rebuildTensor takes (storage, offset, shape, strides, …).
func rebuildTensor(args tuple) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("tensor: expected at least 4 arguments, found %d", len(args))
	}
	of, ok := args[0].(*storage)
	if !ok {
		return opaque{"a tensor in " + describe(args[0])}, nil
	}
	offset, okOffset := args[1].(int64)
	shape, okShape := numbers(args[2])
	strides, okStrides := numbers(args[3])
	if !okOffset || !okShape || !okStrides || len(shape) != len(strides) || len(shape) > maxAxes {
		return nil, fmt.Errorf("tensor: expected an offset, a shape and strides, found %v, %v, %v", args[1], args[2], args[3])
	}
	v := &view{of: of, offset: offset, shape: shape, strides: strides}
	return v, v.check()
}

func numbers(v any) ([]int64, bool) {
	t, ok := v.(tuple)
	if !ok {
		return nil, false
	}
	out := make([]int64, len(t))
	for i, x := range t {
		if out[i], ok = x.(int64); !ok {
			return nil, false
		}
	}
	return out, true
}

// check says whether every value of the view lies inside its storage.
func (v *view) check() error {
	last, count := v.offset, int64(1)
	for i, n := range v.shape {
		if n < 0 || v.strides[i] < 0 || v.offset < 0 {
			return fmt.Errorf("tensor: offset %d, shape %v, strides %v: expected none below 0", v.offset, v.shape, v.strides)
		}
		if n == 0 {
			return nil
		}
		if n > math.MaxInt64/count || v.strides[i] > 0 && (n-1) > (math.MaxInt64-last)/v.strides[i] {
			return fmt.Errorf("tensor of shape %v, strides %v is too large", v.shape, v.strides)
		}
		count *= n
		last += (n - 1) * v.strides[i]
	}
	if v.offset < 0 || last >= v.of.count {
		return fmt.Errorf("tensor: offset %d, shape %v, strides %v reach beyond the %d values of storage %q", v.offset, v.shape, v.strides, v.of.count, v.of.key)
	}
	if count > v.of.count {
		return fmt.Errorf("tensor of shape %v repeats the %d values of storage %q", v.shape, v.of.count, v.of.key)
	}
	return nil
}

func (v *view) elements() int64 {
	n := int64(1)
	for _, d := range v.shape {
		n *= d
	}
	return n
}

// contiguous reports whether the values lie one after the other in row order.
func (v *view) contiguous() bool {
	next := int64(1)
	for i := len(v.shape) - 1; i >= 0; i-- {
		if v.shape[i] != 1 && v.strides[i] != next {
			return false
		}
		next *= v.shape[i]
	}
	return true
}

// copies bounds the bytes of tensors that had to be copied into row order,
// because a small file may describe many views of one storage.
type copies struct{ left int64 }

// tensor returns the view's values in row order: a part of the file where they
// lie so, a copy otherwise.
func (v *view) tensor(name string, budget *copies) (bundle.NamedTensor, error) {
	t := bundle.NamedTensor{Name: name, DType: v.of.dtype, Shape: v.shape}
	n := v.elements()
	if n == 0 {
		return t, nil
	}
	if int64(len(v.of.data)) != v.of.count*v.of.width {
		return t, fmt.Errorf("tensor %q: storage %q: expected %d bytes, found %d", name, v.of.key, v.of.count*v.of.width, len(v.of.data))
	}
	begin := v.offset * v.of.width
	if v.contiguous() {
		end := begin + n*v.of.width
		t.Data = v.of.data[begin:end:end]
		return t, nil
	}
	if budget.left -= n * v.of.width; budget.left < 0 {
		return t, fmt.Errorf("tensor %q: too many tensors with strides such as %v", name, v.strides)
	}
	t.Data = v.rows(make([]byte, 0, n*v.of.width), 0, begin)
	return t, nil
}

// rows appends the values from byte at on along the axes from axis on.
func (v *view) rows(dst []byte, axis int, at int64) []byte {
	if axis == len(v.shape) {
		return append(dst, v.of.data[at:at+v.of.width]...)
	}
	for range v.shape[axis] {
		dst = v.rows(dst, axis+1, at)
		at += v.strides[axis] * v.of.width
	}
	return dst
}
