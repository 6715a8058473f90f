package checkpoint

import (
	"errors"
	"strings"

	"videosim/shared/bundle"
	"videosim/shared/errs"
)

// wrappers stand before every name where a network was saved inside another:
// data-parallel training, compilation, a trainer class.
func wrappers() []string { return []string{"module.", "_orig_mod.", "model.", "net."} }

// OpenStateDict is Open for the state dict of a whole network: names are
// brought to their present form, wrappers before all of them are taken off, and
// tables of constants are left out.
func OpenStateDict(path string) (*Checkpoint, error) {
	c, err := Open(path)
	if err != nil {
		return nil, err
	}
	var kept []bundle.NamedTensor
	for _, t := range c.Tensors {
		if t.Name = modernName(t.Name); !isConstant(t.Name) {
			kept = append(kept, t)
		}
	}
	for unwrap(kept) {
	}
	seen := map[string]bool{}
	for _, t := range kept {
		if seen[t.Name] {
			return nil, errors.Join(errs.New(errs.Corrupt, "%s: tensor %q is there twice, once under its old name", path, t.Name), c.Close())
		}
		seen[t.Name] = true
	}
	c.Tensors = kept
	return c, nil
}

// unwrap takes one wrapper off all names, and says whether there was one.
func unwrap(tensors []bundle.NamedTensor) bool {
	for _, w := range wrappers() {
		all := len(tensors) > 0
		for _, t := range tensors {
			all = all && strings.HasPrefix(t.Name, w)
		}
		if !all {
			continue
		}
		for i := range tensors {
			tensors[i].Name = strings.TrimPrefix(tensors[i].Name, w)
		}
		return true
	}
	return false
}
