package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"videosim/shared/errs"
)

// maxConfigBytes is far above any real configuration file.
const maxConfigBytes = 1 << 20

// sources resolves flags that the command line does not set: first from the
// environment, then from the YAML file. It is one kong resolver, because kong
// itself would put the file above the environment.
type sources struct {
	environ map[string]string  // by variable name, VIDEOSIM_ only
	file    map[string]setting // by flag name
}

// setting is one value of the file.
type setting struct {
	where string // file and line, for complaints
	value *yaml.Node
}

// read loads both sources and refuses every key that is no flag of any
// command. The same file and environment may serve several commands.
func (s *sources) read(c *kong.Context, environ []string) error {
	known := flagNames(c.Model.Node)
	if err := s.readEnviron(environ, known); err != nil {
		return err
	}
	path := s.configPath(c)
	if path == "" {
		return nil
	}
	return s.readFile(path, known)
}

// configPath is --config, or its variable.
func (s *sources) configPath(c *kong.Context) string {
	for _, flag := range c.Model.Flags {
		if flag.Name == "config" {
			if path, ok := c.FlagValue(flag).(string); ok && path != "" {
				return path
			}
		}
	}
	return s.environ[envName("config")]
}

// flagNames collects the flags of a command and everything below it.
func flagNames(node *kong.Node) []string {
	var names []string
	for _, flag := range node.Flags {
		if configurable(flag) {
			names = append(names, flag.Name)
		}
	}
	for _, child := range node.Children {
		names = append(names, flagNames(child)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *sources) readEnviron(environ, known []string) error {
	variables := make([]string, len(known))
	for i, name := range known {
		variables[i] = envName(name)
	}
	s.environ = map[string]string{}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || isServiceLink(name, value) {
			continue
		}
		if !slices.Contains(variables, name) {
			return errs.Field(name, "unknown environment variable%s", didYouMean(name, variables))
		}
		s.environ[name] = value
	}
	return nil
}

var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)$`)

// isServiceLink recognises the variables that Kubernetes sets in every pod
// for every Service beside it: a Service called videosim-gateway makes
// VIDEOSIM_GATEWAY_SERVICE_HOST and VIDEOSIM_GATEWAY_PORT=tcp://….
func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && (strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://"))
}

func (s *sources) readFile(path string, known []string) error {
	data, err := readLimited(path)
	if err != nil {
		return errs.Field("config", "%w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var document, another yaml.Node
	if err := dec.Decode(&document); errors.Is(err, io.EOF) {
		return nil // an empty file sets nothing
	} else if err != nil {
		return errs.Field(path, "%w", err)
	}
	if err := dec.Decode(&another); !errors.Is(err, io.EOF) {
		return errs.Field(path, "expected one YAML document, found another behind ---")
	}
	known = slices.DeleteFunc(slices.Clone(known), func(name string) bool { return name == "config" })
	f := flattener{path: path, known: known, out: map[string]setting{}}
	if err := f.mapping("", document.Content[0]); err != nil {
		return err
	}
	s.file = f.out
	return nil
}

func readLimited(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
	if err == nil && len(data) > maxConfigBytes {
		err = fmt.Errorf("%s: expected at most %d bytes", path, maxConfigBytes)
	}
	return data, err
}

// Validate is kong's; the keys were checked when they were read.
func (*sources) Validate(*kong.Application) error { return nil }

// Resolve returns the value of a flag that the command line does not set,
// nil where no source sets it either.
func (s *sources) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !configurable(flag) {
		return nil, nil
	}
	if value, ok := s.environ[envName(flag.Name)]; ok {
		return value, trial(flag, "$"+envName(flag.Name), value)
	}
	set, ok := s.file[flag.Name]
	if !ok {
		return nil, nil
	}
	value, err := asText(flag, set.value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", set.where, err)
	}
	return value, trial(flag, set.where, value)
}

// trial decodes value as kong will, so that a complaint says where it stands.
func trial(flag *kong.Flag, where, value string) error {
	target := reflect.New(flag.Target.Type()).Elem()
	scan := kong.Scan().PushTyped(value, kong.FlagValueToken)
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, target); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if flag.Enum != "" && target.Kind() == reflect.String && !slices.Contains(flag.EnumSlice(), target.String()) {
		return fmt.Errorf("%s: expected one of %s, found %q", where, strings.Join(flag.EnumSlice(), ", "), value)
	}
	return nil
}

// asText spells a YAML value as the command line would.
func asText(flag *kong.Flag, node *yaml.Node) (string, error) {
	switch {
	case node.Kind == yaml.ScalarNode:
		return node.Value, nil
	case node.Kind == yaml.SequenceNode && flag.IsSlice():
		return join(node.Content, 1, flag.Tag.Sep)
	case node.Kind == yaml.MappingNode && flag.IsMap():
		return join(node.Content, 2, flag.Tag.MapSep)
	}
	return "", fmt.Errorf("expected a single value, found %s", kindName(node))
}

// join spells a list (width 1) or a mapping (width 2, "key=value"). A mapping
// inside a list is spelled as JSON, for types that read themselves from it.
func join(nodes []*yaml.Node, width int, separator rune) (string, error) {
	var parts []string
	for group := range slices.Chunk(nodes, width) {
		var part []string
		for _, node := range group {
			if width == 1 && node.Kind == yaml.MappingNode {
				text, err := asJSON(node)
				if err != nil {
					return "", fmt.Errorf("line %d: %w", node.Line, err)
				}
				part = append(part, text)
				continue
			}
			if node.Kind != yaml.ScalarNode {
				return "", fmt.Errorf("line %d: expected a single value, found %s", node.Line, kindName(node))
			}
			part = append(part, node.Value)
		}
		parts = append(parts, strings.Join(part, "="))
	}
	return kong.JoinEscaped(parts, separator), nil
}

func asJSON(node *yaml.Node) (string, error) {
	var value map[string]any
	if err := node.Decode(&value); err != nil {
		return "", err
	}
	text, err := json.Marshal(value)
	return string(text), err
}

func kindName(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", node.Value)
}
