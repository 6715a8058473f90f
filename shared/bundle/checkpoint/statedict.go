package checkpoint

import (
	"fmt"
	"strings"

	"videosim/shared/bundle"
)

// maxNesting is how deep a training script may have put its state dict.
const maxNesting = 3

// stateDict finds the tensors in what a file holds: the value itself, or one
// of the usual places in it.
func stateDict(root any) (*dict, error) {
	d, ok := root.(*dict)
	if !ok {
		return nil, fmt.Errorf("expected a state dict, found %s (save net.state_dict(), not the network)", describe(root))
	}
	for range maxNesting {
		inner := d.nested()
		if inner == nil || inner.tensors() < d.tensors() {
			break
		}
		d = inner
	}
	if d.tensors() > 0 {
		return d, nil
	}
	return nil, fmt.Errorf("expected a state dict, found a dict of %s", shown(d.keys))
}

// nested returns the dict under one of the keys that training scripts use.
func (d *dict) nested() *dict {
	for _, key := range []string{"state_dict", "model_state_dict", "model", "net", "module"} {
		if inner, ok := d.values[key].(*dict); ok {
			return inner
		}
	}
	return nil
}

func (d *dict) tensors() int {
	n := 0
	for _, v := range d.values {
		if _, is := v.(*view); is {
			n++
		}
	}
	return n
}

// shown lists a few names.
func shown(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	text := strings.Join(names[:min(maxListed, len(names))], ", ")
	if len(names) > maxListed {
		text += ", …"
	}
	return text
}

// collect turns the state dict into tensors, in its order. What is no tensor
// (a step count beside the weights, say) is left out.
func collect(d *dict, fileSize int64) ([]bundle.NamedTensor, error) {
	budget := &copies{left: 2 * fileSize}
	var out []bundle.NamedTensor
	for _, key := range d.keys {
		v, ok := d.values[key].(*view)
		if !ok {
			continue
		}
		t, err := v.tensor(key, budget)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}
