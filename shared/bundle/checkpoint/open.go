package checkpoint

import (
	"bytes"
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"videosim/shared/bundle"
	"videosim/shared/errs"
)

// Checkpoint is an open set of named tensors. Their Data lie in the mapped
// files and are valid until Close.
type Checkpoint struct {
	Path    string // the file, or the folder of several
	Tensors []bundle.NamedTensor
	close   []func() error
}

// Close unmaps the files.
func (c *Checkpoint) Close() error {
	var err error
	for _, f := range c.close {
		err = errors.Join(err, f())
	}
	c.Tensors, c.close = nil, nil
	return err
}

// Open reads one file of weights: safetensors, or what torch.save wrote, with
// zip or without. The content decides, not the name. A file that fails its
// checks is errs.Corrupt, one of another kind errs.Invalid, a missing one
// errs.NotFound.
func Open(path string) (*Checkpoint, error) {
	data, err := bundle.MapFile(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Path: path, close: []func() error{func() error { return bundle.Unmap(data) }}}
	if err := c.read(data); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Checkpoint) read(data []byte) (err error) {
	switch {
	case len(data) > headerLength && data[headerLength] == '{':
		return c.readSafetensors()
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		c.Tensors, err = readZip(data)
	case data[0] == opProto && data[1] >= 2 && data[1] <= 5:
		c.Tensors, err = readLegacy(data)
	default:
		return errs.New(errs.Invalid, "%s: expected safetensors or a file of torch.save, found %s", c.Path, sniff(c.Path, data))
	}
	if err != nil {
		return errs.New(errs.Corrupt, "%s: %w", c.Path, err)
	}
	return nil
}

// headerLength is what stands before the JSON of a safetensors file.
const headerLength = 8

func (c *Checkpoint) readSafetensors() error {
	f, err := bundle.OpenSafetensors(c.Path)
	if err != nil {
		return err
	}
	c.Tensors = f.All()
	c.close = append(c.close, f.Close)
	return nil
}

// sniff says what a file is that people mistake for weights.
func sniff(path string, data []byte) string {
	begin := data[:min(len(data), 40)]
	switch {
	case bytes.HasPrefix(begin, []byte("version https://git-lfs")):
		return "the pointer that Git LFS leaves in place of a file (run git lfs pull in the folder)"
	case bytes.HasPrefix(begin, []byte("\x89HDF")):
		return "HDF5, which TensorFlow writes (convert it with transformers' save_pretrained)"
	case strings.EqualFold(filepath.Ext(path), ".msgpack"):
		return "msgpack, which Flax writes (convert it with transformers' save_pretrained)"
	case bytes.HasPrefix(begin, []byte("<")):
		return "a web page"
	}
	return "bytes " + strings.TrimSpace(quote(begin[:min(len(begin), 8)]))
}

func quote(b []byte) string { return strconv.QuoteToASCII(string(b)) }
