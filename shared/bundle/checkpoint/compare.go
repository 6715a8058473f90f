package checkpoint

import (
	"fmt"
	"slices"
	"strings"

	"videosim/shared/bundle"
	"videosim/shared/errs"
)

// Want is a tensor that a network needs.
type Want struct {
	Name  string
	Shape []int64
}

// maxListed caps each list of a comparison: the first few names tell the story.
const maxListed = 8

// Compare checks that found has exactly the names and shapes of want. Otherwise
// it returns a Corrupt error of a few lines: what is missing, each with the
// nearest name that was found, what has another shape, what was not expected.
func Compare(want []Want, found []bundle.NamedTensor) error {
	byName := make(map[string][]int64, len(found))
	for _, t := range found {
		byName[t.Name] = t.Shape
	}
	var missing []Want
	var misshapen, unknown []string
	expected := make(map[string]bool, len(want))
	for _, w := range want {
		expected[w.Name] = true
		if shape, ok := byName[w.Name]; !ok {
			missing = append(missing, w)
		} else if !slices.Equal(shape, w.Shape) {
			misshapen = append(misshapen, fmt.Sprintf("%s: expected %v, found %v", w.Name, w.Shape, shape))
		}
	}
	for name := range byName {
		if !expected[name] {
			unknown = append(unknown, name)
		}
	}
	if len(missing)+len(misshapen)+len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return errs.New(errs.Corrupt, "expected %d tensors, found %d%s%s%s", len(want), len(byName),
		section("missing", missing, func(w Want) string { return fmt.Sprint(w.Name, " ", w.Shape, hint(w.Name, unknown, byName)) }),
		section("of another shape", misshapen, func(s string) string { return s }),
		section("not expected", unknown, func(name string) string { return fmt.Sprint(name, " ", byName[name]) }))
}

// section renders one list, an entry a line.
func section[T any](what string, entries []T, line func(T) string) string {
	if len(entries) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d %s: ", len(entries), what)
	for i, e := range entries[:min(len(entries), maxListed)] {
		if i > 0 {
			b.WriteString("\n  ")
		}
		b.WriteString(line(e))
	}
	if len(entries) > maxListed {
		fmt.Fprintf(&b, "\n  … and %d more", len(entries)-maxListed)
	}
	return b.String()
}

// hint names the tensor that was probably meant: first among those that
// nothing else asks for, then among all.
func hint(name string, unknown []string, byName map[string][]int64) string {
	best := nearest(name, unknown)
	if best == "" {
		all := make([]string, 0, len(byName))
		for n := range byName {
			all = append(all, n)
		}
		slices.Sort(all)
		best = nearest(name, all)
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (nearest found: %s %v)", best, byName[best])
}

// nearest returns the name that shares the most with name at its two ends:
// checkpoints differ in prefixes and in single parts. A name that shares less
// than half helps nobody.
func nearest(name string, candidates []string) string {
	best, length := "", (len(name)+1)/2-1
	for _, c := range candidates {
		prefix := commonPrefix(name, c)
		suffix := commonSuffix(name[prefix:], c[prefix:])
		if n := prefix + suffix; n > length {
			best, length = c, n
		}
	}
	return best
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
