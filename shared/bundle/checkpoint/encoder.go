package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"videosim/shared/bundle"
	"videosim/shared/errs"
)

// Encoder is a text encoder from a Hugging Face folder.
type Encoder struct {
	Config BERTConfig
	// Tensors are those of BertModel under their names there, in float32;
	// without the pooler where the folder has none. Valid until Close.
	Tensors   []bundle.NamedTensor
	Vocab     []byte // a token a line
	Tokenizer TokenizerSettings
	Notes     []string // what was left out or changed, for the user to read
	weights   *Checkpoint
}

// Close frees the tensors.
func (e *Encoder) Close() error { return e.weights.Close() }

// OpenEncoder reads a Hugging Face folder of a BERT: config.json, vocab.txt or
// tokenizer.json, and weights in any of their forms. Errors are Invalid or
// Corrupt and name the file with the key, the tensor or the line.
func OpenEncoder(dir string) (*Encoder, error) {
	data, err := readSmall(filepath.Join(dir, "config.json"), maxConfigBytes)
	if err != nil {
		return nil, err
	}
	e := &Encoder{}
	if e.Config, err = ParseBERTConfig(data); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if err := e.readTokenizer(dir); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if e.weights, err = openWeights(dir); err != nil {
		return nil, err
	}
	if err := e.take(e.weights.Tensors); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", e.weights.Path, err), e.Close())
	}
	return e, nil
}

// take keeps the tensors of the encoder and notes the others.
func (e *Encoder) take(found []bundle.NamedTensor) error {
	named := make([]bundle.NamedTensor, 0, len(found))
	for _, t := range found {
		if t.Name = modernName(t.Name); !isConstant(t.Name) {
			named = append(named, t)
		}
	}
	prefix, err := findPrefix(named)
	if err != nil {
		return err
	}
	kept, other, err := split(named, prefix)
	if err != nil {
		return err
	}
	want := e.Config.Tensors()
	if !slices.ContainsFunc(kept, func(t bundle.NamedTensor) bool { return strings.HasPrefix(t.Name, pooler) }) {
		want = want[:len(want)-2]
		e.note("no pooler: nothing reads it, it gets new values")
	}
	if err := Compare(want, kept); err != nil {
		return err
	}
	if len(other) > 0 {
		e.note("left out %d tensors of other parts: %s", len(other), shown(other))
	}
	return e.convert(want, kept)
}

func (e *Encoder) note(format string, args ...any) {
	e.Notes = append(e.Notes, fmt.Sprintf(format, args...))
}

// findPrefix returns what stands before the names of BertModel: nothing where
// it was saved alone, "bert." below a head, "module." after data-parallel training.
func findPrefix(found []bundle.NamedTensor) (string, error) {
	var prefixes []string
	for _, t := range found {
		if p, ok := strings.CutSuffix(t.Name, wordTable); ok && (p == "" || strings.HasSuffix(p, ".")) {
			prefixes = append(prefixes, p)
		}
	}
	switch len(prefixes) {
	case 1:
		return prefixes[0], nil
	case 0:
		return "", errs.New(errs.Corrupt, "expected a BERT, with a tensor …%s, found %d tensors%s", wordTable, len(found), firstNames(found))
	}
	slices.Sort(prefixes)
	return "", errs.New(errs.Invalid, "expected one BERT, found %d: %s", len(prefixes), quoteAll(prefixes))
}

func quoteAll(prefixes []string) string {
	shown := make([]string, 0, maxListed)
	for _, p := range prefixes[:min(len(prefixes), maxListed)] {
		shown = append(shown, fmt.Sprintf("%q", p+"embeddings"))
	}
	return strings.Join(shown, ", ")
}

func firstNames(found []bundle.NamedTensor) string {
	names := make([]string, 0, maxListed)
	for _, t := range found[:min(len(found), maxListed)] {
		names = append(names, fmt.Sprint(t.Name, " ", t.Shape))
	}
	if len(names) == 0 {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

// split divides the tensors into those of the encoder, their prefix taken off,
// and the names of heads and other parts. Below a prefix everything must be
// the encoder's; without one, the first part of the name tells.
func split(found []bundle.NamedTensor, prefix string) (kept []bundle.NamedTensor, other []string, err error) {
	seen := map[string]bool{}
	for _, t := range found {
		name, under := strings.CutPrefix(t.Name, prefix)
		first, _, _ := strings.Cut(name, ".")
		if !under || prefix == "" && !slices.Contains([]string{"embeddings", "encoder", "pooler"}, first) {
			other = append(other, t.Name)
			continue
		}
		if seen[name] {
			return nil, nil, errs.New(errs.Corrupt, "tensor %q is there twice, once under its old name", t.Name)
		}
		seen[name] = true
		t.Name = name
		kept = append(kept, t)
	}
	return kept, other, nil
}

// convert makes float32 of the tensors, in the order of want.
func (e *Encoder) convert(want []Want, kept []bundle.NamedTensor) error {
	byName := make(map[string]bundle.NamedTensor, len(kept))
	for _, t := range kept {
		byName[t.Name] = t
	}
	from := map[string]int{}
	for _, w := range want {
		t := byName[w.Name]
		if t.DType != "F32" {
			from[t.DType]++
		}
		t, err := Float32(t)
		if err != nil {
			return err
		}
		e.Tensors = append(e.Tensors, t)
	}
	for dtype, n := range from {
		e.note("converted %d tensors from %s to F32", n, dtype)
	}
	e.widenTypes()
	return nil
}

// Float32 converts a tensor to float32 and refuses values that are no numbers.
// A tensor that is float32 stays the part of the file that it is.
func Float32(t bundle.NamedTensor) (bundle.NamedTensor, error) {
	switch t.DType {
	case "F32", "F16", "BF16", "F64":
	default:
		return t, errs.New(errs.Invalid, "tensor %q: dtype: expected F32, F16, BF16 or F64, found %s", t.Name, t.DType)
	}
	values, err := t.Float32s()
	if err != nil {
		return t, err
	}
	for i, v := range values {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return t, errs.New(errs.Corrupt, "tensor %q: value %d: expected a finite number, found %v", t.Name, i, v)
		}
	}
	if t.DType == "F32" {
		return t, nil // as it lies in the file
	}
	return bundle.Float32Tensor(t.Name, values, t.Shape...), nil
}

// widenTypes gives a table of one token type a second, equal one: the suite
// marks the second text of a video.
func (e *Encoder) widenTypes() {
	if e.Config.TypeVocab > 1 {
		return
	}
	for i, t := range e.Tensors {
		if t.Name == typeTable {
			t.Data = append(slices.Clone(t.Data), t.Data...)
			t.Shape = []int64{2, int64(e.Config.Hidden)}
			e.Tensors[i] = t
		}
	}
	e.Config.TypeVocab = 2
	e.note("the token types were one, the second text of a video gets an equal one")
}
