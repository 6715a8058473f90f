package bundle

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"videosim/shared/errs"
)

// The safetensors format (huggingface/safetensors, README "Format"): 8 bytes
// little-endian header length, a JSON object name → {dtype, shape,
// data_offsets}, then the tensors back to back. Offsets count from the end of
// the header.
//
// The reader is our own because every complaint must name the tensor it is
// about and a repeated name must be noticed; the Go library does neither.

// maxHeaderBytes is the format's own limit on the JSON header.
const maxHeaderBytes = 100_000_000

// metadataKey is the one header entry that is no tensor.
const metadataKey = "__metadata__"

// NamedTensor is one tensor as a file holds it: row-major, little-endian.
// A scalar has an empty Shape.
type NamedTensor struct {
	Name  string
	DType string // as safetensors spells it: "F32", "F16", "BF16", "I64", …
	Shape []int64
	Data  []byte
}

// dtypeBytes returns the width of one element, 0 for a type we do not know.
func dtypeBytes(dtype string) int64 {
	switch dtype {
	case "F64", "I64", "U64":
		return 8
	case "F32", "I32", "U32":
		return 4
	case "F16", "BF16", "I16", "U16":
		return 2
	case "BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2":
		return 1
	}
	return 0
}

// check compares dtype, shape and the number of data bytes.
func (t NamedTensor) check(dataBytes int64) error {
	size, err := t.size()
	if err != nil {
		return err
	}
	if size != dataBytes {
		return fmt.Errorf("tensor %q: %s %v needs %d bytes, found %d", t.Name, t.DType, t.Shape, size, dataBytes)
	}
	return nil
}

// size is the number of bytes that dtype and shape ask for.
func (t NamedTensor) size() (int64, error) {
	size := dtypeBytes(t.DType)
	if size == 0 {
		return 0, fmt.Errorf("tensor %q: dtype: expected one of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL, found %q", t.Name, t.DType)
	}
	for _, n := range t.Shape {
		if n < 0 {
			return 0, fmt.Errorf("tensor %q: shape %v has a negative axis", t.Name, t.Shape)
		}
		if n > 0 && size > math.MaxInt64/n {
			return 0, fmt.Errorf("tensor %q: shape %v is too large", t.Name, t.Shape)
		}
		size *= n
	}
	return size, nil
}

// TensorFile is an open safetensors file, mapped into memory: a tensor's Data
// is the file itself and is valid until Close. The file must not be truncated
// while it is open (bundles are replaced as whole folders, never in place).
type TensorFile struct {
	Path     string
	Metadata map[string]string // free text that the writer added, often nil
	tensors  []NamedTensor     // in file order
	byName   map[string]int
	mapped   []byte
}

// OpenSafetensors maps the file at path and checks its header completely:
// every tensor inside the file, none overlapping, no byte unaccounted for.
// A file that fails is errs.Corrupt; one that is not there errs.NotFound.
func OpenSafetensors(path string) (*TensorFile, error) {
	mapped, err := MapFile(path)
	if err != nil {
		return nil, err
	}
	f := &TensorFile{Path: path, mapped: mapped}
	if err := f.parse(); err != nil {
		f.Close()
		return nil, errs.New(errs.Corrupt, "%s: %w", path, err)
	}
	return f, nil
}

func (f *TensorFile) parse() error {
	total := int64(len(f.mapped))
	headerLen := binary.LittleEndian.Uint64(f.mapped)
	if headerLen > maxHeaderBytes || int64(headerLen) > total-8 {
		return fmt.Errorf("header of %d bytes does not fit into a file of %d (cut off, or no safetensors file)", headerLen, total)
	}
	header, data := f.mapped[8:8+headerLen], f.mapped[8+headerLen:]
	entries, err := f.parseHeader(header)
	if err != nil {
		return err
	}
	slices.SortStableFunc(entries, func(a, b headerEntry) int { return slices.Compare(a.Offsets[:], b.Offsets[:]) })
	return f.addTensors(entries, data)
}

type headerEntry struct {
	name    string
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// parseHeader walks the JSON object by tokens, so that a repeated name shows.
func (f *TensorFile) parseHeader(header []byte) ([]headerEntry, error) {
	dec := json.NewDecoder(bytes.NewReader(header))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return nil, fmt.Errorf("header is not a JSON object (found %.20q)", header)
	}
	f.byName = map[string]int{}
	var entries []headerEntry
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("header: %w", err)
		}
		name := token.(string) // a JSON object's key is always a string
		if name == metadataKey {
			if err := dec.Decode(&f.Metadata); err != nil {
				return nil, fmt.Errorf("header %s: %w", metadataKey, err)
			}
			continue
		}
		if _, twice := f.byName[name]; twice {
			return nil, fmt.Errorf("tensor %q is there twice", name)
		}
		f.byName[name] = 0
		entry := headerEntry{name: name}
		if err := dec.Decode(&entry); err != nil {
			return nil, fmt.Errorf("header of tensor %q: %w", name, err)
		}
		entries = append(entries, entry)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return entries, nil
}

// addTensors checks that the sorted entries cover data without gap or overlap.
func (f *TensorFile) addTensors(entries []headerEntry, data []byte) error {
	end := int64(0)
	for i, e := range entries {
		start, stop := e.Offsets[0], e.Offsets[1]
		if start != end || stop < start || stop > int64(len(data)) {
			return fmt.Errorf("tensor %q: bytes %d to %d: expected to start at %d and end within %d", e.name, start, stop, end, len(data))
		}
		t := NamedTensor{Name: e.name, DType: e.DType, Shape: e.Shape, Data: data[start:stop:stop]}
		if err := t.check(stop - start); err != nil {
			return err
		}
		f.tensors, f.byName[e.name], end = append(f.tensors, t), i, stop
	}
	if end != int64(len(data)) {
		return fmt.Errorf("%d bytes after the last tensor", int64(len(data))-end)
	}
	return nil
}

// Names lists the tensors in file order.
func (f *TensorFile) Names() []string {
	names := make([]string, len(f.tensors))
	for i, t := range f.tensors {
		names[i] = t.Name
	}
	return names
}

// All returns the tensors in file order; their Data is valid until Close.
func (f *TensorFile) All() []NamedTensor { return f.tensors }

// Tensor returns the named tensor; its Data is valid until Close.
func (f *TensorFile) Tensor(name string) (NamedTensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return NamedTensor{}, false
	}
	return f.tensors[i], true
}

// Close unmaps the file. Data of its tensors must not be touched afterwards.
func (f *TensorFile) Close() error {
	if f.mapped == nil {
		return nil
	}
	mapped := f.mapped
	f.mapped, f.tensors, f.byName = nil, nil, nil
	return Unmap(mapped)
}

// ReadSafetensors reads a whole file into memory, in file order. For large
// files OpenSafetensors copies nothing.
func ReadSafetensors(path string) ([]NamedTensor, error) {
	f, err := OpenSafetensors(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tensors := slices.Clone(f.tensors)
	for i := range tensors {
		tensors[i].Data = bytes.Clone(tensors[i].Data)
	}
	return tensors, nil
}

// WriteSafetensors writes the tensors to path and syncs the file. Tensors are
// stored widest type first, then by name, so the same tensors make the same bytes.
func WriteSafetensors(path string, tensors []NamedTensor) error {
	return writeFile(path, func(w io.Writer) error { return encodeSafetensors(w, nil, stored(tensors)) })
}
