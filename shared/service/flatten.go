package service

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"videosim/shared/errs"
)

// flattener turns nested YAML keys into flag names: {nats: {url: x}} sets
// nats-url, as "nats-url: x" does.
type flattener struct {
	path  string   // of the file
	known []string // flag names
	out   map[string]setting
}

func (f *flattener) mapping(prefix string, node *yaml.Node) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode {
		return f.fail(node, prefix, "expected keys and values, found %s", kindName(node))
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return f.fail(key, prefix, "expected a key, found %s", kindName(key))
		}
		if err := f.key(prefix+key.Value, key, value); err != nil {
			return err
		}
	}
	return nil
}

// key sets the flag called name, or goes down into what it groups.
func (f *flattener) key(name string, key, value *yaml.Node) error {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if value.Kind == yaml.MappingNode && f.groups(name) {
		return f.mapping(name+"-", value)
	}
	if !slices.Contains(f.known, name) {
		return f.fail(key, name, "unknown key%s", didYouMean(name, f.known))
	}
	if value.Kind == yaml.ScalarNode && value.Tag == "!!null" {
		return f.fail(key, name, `expected a value, found none (write "" for an empty text)`)
	}
	if earlier, twice := f.out[name]; twice {
		return f.fail(key, name, "set a second time, first at %s", earlier.where)
	}
	f.out[name] = setting{where: fmt.Sprintf("%s, line %d", f.path, key.Line), value: value}
	return nil
}

// groups says whether some flag's name begins with name and a dash.
func (f *flattener) groups(name string) bool {
	return slices.ContainsFunc(f.known, func(flag string) bool {
		return len(flag) > len(name) && flag[:len(name)+1] == name+"-"
	})
}

func (f *flattener) fail(node *yaml.Node, key, format string, args ...any) error {
	return errs.Field(fmt.Sprintf("%s, line %d, %s", f.path, node.Line, key), format, args...)
}

// didYouMean suggests the nearest candidate, if one is near.
func didYouMean(name string, candidates []string) string {
	best, bestDistance := "", len(name)/2+1
	for _, candidate := range candidates {
		if d := editDistance(name, candidate); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// editDistance is Levenshtein's: single-byte insertions, deletions and
// replacements that turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1) // distances of the prefix of a so far to every prefix of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
