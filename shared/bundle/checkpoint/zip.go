package checkpoint

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"strings"

	"videosim/shared/bundle"
)

// maxEntries bounds the files in an archive: one a storage, so far above any
// checkpoint.
const maxEntries = 100_000

// archive is a zip file as torch.save writes it since version 1.6: everything
// below one folder, nothing compressed.
//
//	NAME/data.pkl     the value, with storages by key
//	NAME/data/KEY     the storages
//	NAME/byteorder    "little" or "big", since version 2.1
type archive struct {
	data    []byte
	folder  string
	entries map[string]*zip.File
}

func readZip(data []byte) ([]bundle.NamedTensor, error) {
	a, err := openArchive(data)
	if err != nil {
		return nil, err
	}
	pickled, err := a.entry("data.pkl", maxPickleBytes)
	if err != nil {
		return nil, err
	}
	x := &storages{byKey: map[string]*storage{}, limit: int64(len(data)), find: a.storage}
	root, _, err := unpickle(pickled, x.load, reduce)
	if err != nil {
		return nil, fmt.Errorf("%sdata.pkl: %w", a.folder, err)
	}
	d, err := stateDict(root)
	if err != nil {
		return nil, err
	}
	return collect(d, int64(len(data)))
}

func openArchive(data []byte) (*archive, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("zip: %w (is the file cut off?)", err)
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("zip: expected at most %d entries, found %d", maxEntries, len(z.File))
	}
	a := &archive{data: data, entries: make(map[string]*zip.File, len(z.File))}
	for _, f := range z.File {
		a.entries[f.Name] = f
		if folder, ok := strings.CutSuffix(f.Name, "data.pkl"); ok && strings.Count(f.Name, "/") <= 1 {
			a.folder = folder
		}
	}
	switch {
	case a.entries[a.folder+"data.pkl"] == nil:
		return nil, fmt.Errorf("zip: expected an entry data.pkl, found none: not written by torch.save")
	case a.entries[a.folder+"constants.pkl"] != nil:
		return nil, fmt.Errorf("zip: expected a state dict, found a TorchScript program")
	}
	if a.entries[a.folder+"byteorder"] != nil {
		order, err := a.entry("byteorder", 16)
		if err != nil {
			return nil, err
		}
		if string(order) != "little" {
			return nil, fmt.Errorf("%sbyteorder: expected little, found %q", a.folder, order)
		}
	}
	return a, nil
}

// entry returns the bytes of an entry, a part of the file.
func (a *archive) entry(name string, most uint64) ([]byte, error) {
	f := a.entries[a.folder+name]
	if f == nil {
		return nil, fmt.Errorf("zip: expected an entry %s%s, found none", a.folder, name)
	}
	if f.Method != zip.Store {
		return nil, fmt.Errorf("%s: expected an entry stored as it is, as torch.save does, found one compressed", f.Name)
	}
	if f.UncompressedSize64 > most {
		return nil, fmt.Errorf("%s: expected at most %d bytes, found %d", f.Name, most, f.UncompressedSize64)
	}
	begin, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	size := int64(f.UncompressedSize64)
	if begin < 0 || begin > int64(len(a.data)) || size > int64(len(a.data))-begin {
		return nil, fmt.Errorf("%s: %w", f.Name, io.ErrUnexpectedEOF)
	}
	return a.data[begin : begin+size : begin+size], nil
}

func (a *archive) storage(s *storage) ([]byte, error) {
	size := s.count * s.width
	data, err := a.entry("data/"+s.key, uint64(len(a.data)))
	if err == nil && int64(len(data)) != size {
		err = fmt.Errorf("%sdata/%s: expected %d bytes, found %d", a.folder, s.key, size, len(data))
	}
	return data, err
}
