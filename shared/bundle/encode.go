package bundle

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"videosim/shared/errs"
)

// SourceTensor is a tensor whose bytes are fetched when they are written, so
// that a file larger than the memory that is left can be made of tensors that
// live elsewhere, such as on a GPU.
type SourceTensor struct {
	Name  string
	DType string
	Shape []int64
	Bytes func() []byte // called once
}

// stored makes sources of tensors that are in memory.
func stored(tensors []NamedTensor) []SourceTensor {
	out := make([]SourceTensor, len(tensors))
	for i, t := range tensors {
		out[i] = SourceTensor{t.Name, t.DType, t.Shape, func() []byte { return t.Data }}
	}
	return out
}

// ReplaceSafetensors writes a safetensors file with free text in its header,
// and puts it in path's place in one step once it is on the disk: path holds
// the old file or the new one, whole, also after a crash or on a full disk.
func ReplaceSafetensors(path string, metadata map[string]string, tensors []SourceTensor) error {
	temp := path + ".new" // one writer a path; what a crash left is overwritten
	err := writeFile(temp, func(w io.Writer) error { return encodeSafetensors(w, metadata, tensors) })
	if err != nil {
		os.Remove(temp) // a full disk needs the room; the first error is the one to tell
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func encodeSafetensors(w io.Writer, metadata map[string]string, tensors []SourceTensor) error {
	sorted := slices.Clone(tensors)
	// By element width first, widest first: every tensor then starts at a
	// multiple of its own width.
	slices.SortFunc(sorted, func(a, b SourceTensor) int {
		if d := dtypeBytes(b.DType) - dtypeBytes(a.DType); d != 0 {
			return int(d)
		}
		return strings.Compare(a.Name, b.Name)
	})
	header, err := encodeHeader(metadata, sorted)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range sorted {
		data := t.Bytes()
		if err := (NamedTensor{Name: t.Name, DType: t.DType, Shape: t.Shape}).check(int64(len(data))); err != nil {
			return errs.New(errs.Invalid, "%w", err)
		}
		if _, err := w.Write(data); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

// encodeHeader returns length and JSON, padded with blanks to a multiple of 8.
func encodeHeader(metadata map[string]string, sorted []SourceTensor) ([]byte, error) {
	out := append(make([]byte, 8), '{')
	if len(metadata) > 0 {
		if err := appendEntry(&out, metadataKey, metadata); err != nil {
			return nil, err
		}
	}
	seen := make(map[string]bool, len(sorted))
	offset := int64(0)
	for _, t := range sorted {
		if t.Name == "" || t.Name == metadataKey || seen[t.Name] {
			return nil, errs.New(errs.Invalid, "tensor name %q is empty, reserved or there twice", t.Name)
		}
		seen[t.Name] = true
		size, err := (NamedTensor{Name: t.Name, DType: t.DType, Shape: t.Shape}).size()
		if err != nil {
			return nil, errs.New(errs.Invalid, "%w", err)
		}
		shape := t.Shape
		if shape == nil {
			shape = []int64{} // a scalar is [], never null
		}
		entry := headerEntry{DType: t.DType, Shape: shape, Offsets: [2]int64{offset, offset + size}}
		if err := appendEntry(&out, t.Name, entry); err != nil {
			return nil, err
		}
		offset += size
	}
	out = append(out, '}')
	for len(out)%8 != 0 {
		out = append(out, ' ')
	}
	binary.LittleEndian.PutUint64(out, uint64(len(out)-8))
	return out, nil
}

// appendEntry adds one member to the JSON object in out.
func appendEntry(out *[]byte, name string, value any) error {
	key, err := json.Marshal(name)
	if err != nil {
		return fmt.Errorf("header entry %q: %w", name, err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("header entry %q: %w", name, err)
	}
	if last := (*out)[len(*out)-1]; last != '{' {
		*out = append(*out, ',')
	}
	*out = append(append(append(*out, key...), ':'), data...)
	return nil
}
