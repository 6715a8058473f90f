package checkpoint

import (
	"encoding/binary"
	"fmt"
	"slices"

	"videosim/shared/bundle"
)

// Every torch.save without zip begins with these pickled integers: a magic
// number and a protocol version (torch/serialization.py).
const (
	legacyMagic   = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
	legacyVersion = 1001
)

// readLegacy reads what torch.save wrote before version 1.6: five pickles (magic
// number, version, the machine, the value, the storages' keys), then the
// storages, each after its number of values.
func readLegacy(data []byte) ([]bundle.NamedTensor, error) {
	at := 0
	x := &storages{byKey: map[string]*storage{}, limit: int64(len(data))}
	next := func() (any, error) {
		v, n, err := unpickle(data[at:min(len(data), at+maxPickleBytes)], x.load, reduce)
		at += n
		return v, err
	}
	var parts [5]any
	for i := range parts {
		begin := at
		v, err := next()
		if err != nil {
			return nil, fmt.Errorf("from byte %d: %w", begin, err)
		}
		parts[i] = v
	}
	if err := checkLegacy(parts[0], parts[1], parts[2]); err != nil {
		return nil, err
	}
	keys, ok := parts[4].(*list)
	if !ok {
		return nil, fmt.Errorf("expected a list of storages, found %s", describe(parts[4]))
	}
	if err := x.fill(data[at:], keys.items); err != nil {
		return nil, err
	}
	d, err := stateDict(parts[3])
	if err != nil {
		return nil, err
	}
	return collect(d, int64(len(data)))
}

func checkLegacy(magic, version, machine any) error {
	if magic != long(legacyMagic) || version != int64(legacyVersion) {
		return fmt.Errorf("expected the header of torch.save, found %s", describe(magic))
	}
	if d, ok := machine.(*dict); ok && d.values["little_endian"] == false {
		return fmt.Errorf("expected little-endian values, found big-endian")
	}
	return nil
}

// fill points the storages to their data, which follow in the order of keys.
func (x *storages) fill(data []byte, keys []any) error {
	for _, key := range keys {
		name, _ := key.(string)
		s, ok := x.byKey[name]
		if !ok {
			return fmt.Errorf("storage %q has data but no class", name)
		}
		if len(data) < 8 {
			return fmt.Errorf("storage %q: the file ends before it", name)
		}
		count := binary.LittleEndian.Uint64(data)
		data = data[8:]
		if count != uint64(s.count) {
			return fmt.Errorf("storage %q: expected %d values, found %d", name, s.count, count)
		}
		size := s.count * s.width
		if int64(len(data)) < size {
			return fmt.Errorf("storage %q: expected %d bytes, found %d: the file is cut off", name, size, len(data))
		}
		s.data, data = slices.Clip(data[:size]), data[size:]
	}
	return nil
}
