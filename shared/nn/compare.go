package nn

import (
	"fmt"
	"slices"
	"strings"

	"videosim/shared/bundle"
	"videosim/shared/errs"
)

// maxListed caps each list of a load error: the first few names tell the story.
const maxListed = 8

// compare checks that the stored tensors have exactly the names and shapes of p.
func (p *Params) compare(stored map[string]bundle.NamedTensor) error {
	var missing, unknown, misshapen []string
	for _, e := range p.all {
		v, ok := stored[e.Name]
		if shape := e.Tensor.Shape(); !ok {
			missing = append(missing, fmt.Sprintf("%s %v", e.Name, shape))
		} else if !slices.Equal(shape, v.Shape) {
			misshapen = append(misshapen, fmt.Sprintf("%s: expected %v, found %v", e.Name, shape, v.Shape))
		}
	}
	for name := range stored {
		if _, ok := p.byName[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	if len(missing)+len(unknown)+len(misshapen) == 0 {
		return nil
	}
	if len(missing) > 0 {
		name, _, _ := strings.Cut(missing[0], " ")
		if close := nearest(name, stored); close != "" {
			missing[0] += fmt.Sprintf(" (nearest found: %s %v)", close, stored[close].Shape)
		}
	}
	return errs.New(errs.Corrupt, "expected %d tensors, found %d%s%s%s", len(p.all), len(stored),
		list("missing", missing), list("of another shape", misshapen), list("not expected", unknown))
}

func list(what string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	shown := names[:min(len(names), maxListed)]
	more := ""
	if len(names) > maxListed {
		more = ", …"
	}
	return fmt.Sprintf("; %d %s: %s%s", len(names), what, strings.Join(shown, ", "), more)
}

// nearest returns the found name that shares the longest ending with name:
// checkpoints differ mostly in their prefixes. At least the last part must
// agree for a name to be of help.
func nearest(name string, stored map[string]bundle.NamedTensor) string {
	best, length := "", 0
	for candidate := range stored {
		n := commonSuffix(name, candidate)
		if n > length || n == length && candidate < best {
			best, length = candidate, n
		}
	}
	if last := name[strings.LastIndexByte(name, '.')+1:]; length < len(last) {
		return ""
	}
	return best
}

func commonSuffix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
