package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Bounds of a pickle stream. BERT-base's is 40 KB; an optimiser beside it
// makes it a few times as long.
const (
	maxPickleBytes = 16 << 20
	maxStack       = 1 << 20
)

// What an unpickler makes besides nil, bool, int64, float64, string and []byte.
type (
	tuple  []any
	list   struct{ items []any }
	global struct{ module, name string } // a class or function, by name only
	mark   struct{}
	// opaque stands for an object of a class that means nothing here.
	opaque struct{ class string }
	// long is an integer of more than 64 bits, little-endian.
	long string
)

// dict keeps the order and looks up strings; other keys are dropped.
type dict struct {
	keys   []string
	values map[string]any
}

func newDict() *dict { return &dict{values: map[string]any{}} }

func (d *dict) set(key, value any) {
	name, ok := key.(string)
	if !ok {
		return
	}
	if _, twice := d.values[name]; !twice {
		d.keys = append(d.keys, name)
	}
	d.values[name] = value
}

// unpickler reads the part of Python's pickle format that torch.save writes
// (protocols 2 to 5). It runs nothing: classes and functions stay names,
// and only reduce and persistent, which know PyTorch's few, make values of
// them. Every length is checked against the bytes that are there before
// anything is allocated.
type unpickler struct {
	data  []byte
	at    int
	stack []any
	memo  map[int]any

	persistent func(id any) (any, error)
	reduce     func(g global, args tuple) (any, error)
}

// unpickle reads one value from the start of data and returns it with the
// number of bytes it took.
func unpickle(data []byte, persistent func(any) (any, error), reduce func(global, tuple) (any, error)) (value any, n int, err error) {
	u := &unpickler{data: data, memo: map[int]any{}, persistent: persistent, reduce: reduce}
	for {
		begin := u.at
		op, err := u.byte()
		if err == nil && op == opStop {
			value, err = u.pop()
			if err == nil {
				return value, u.at, nil
			}
		}
		if err == nil {
			err = u.do(op)
		}
		if err == nil && len(u.stack) > maxStack {
			err = fmt.Errorf("more than %d values on the stack", maxStack)
		}
		if err != nil {
			return nil, u.at, fmt.Errorf("pickle, byte %d: %w", begin, err)
		}
	}
}

// take returns the next n bytes.
func (u *unpickler) take(n uint64) ([]byte, error) {
	if n > uint64(len(u.data)-u.at) {
		return nil, fmt.Errorf("expected %d more bytes, found %d", n, len(u.data)-u.at)
	}
	b := u.data[u.at : u.at+int(n)]
	u.at += int(n)
	return b, nil
}

func (u *unpickler) byte() (byte, error) {
	b, err := u.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// uint reads a little-endian number of width bytes.
func (u *unpickler) uint(width uint64) (uint64, error) {
	b, err := u.take(width)
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

// sized reads a length of width bytes and as many bytes.
func (u *unpickler) sized(width uint64) ([]byte, error) {
	n, err := u.uint(width)
	if err != nil {
		return nil, err
	}
	return u.take(n)
}

// maxLine bounds the name of a module or class.
const maxLine = 512

func (u *unpickler) line() (string, error) {
	rest := u.data[u.at:min(len(u.data), u.at+maxLine)]
	n := bytes.IndexByte(rest, '\n')
	if n < 0 {
		return "", fmt.Errorf("expected a name that ends within %d bytes", maxLine)
	}
	u.at += n + 1
	return string(rest[:n]), nil
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

func (u *unpickler) pop() (any, error) {
	if len(u.stack) == 0 {
		return nil, fmt.Errorf("nothing on the stack")
	}
	v := u.stack[len(u.stack)-1]
	if _, is := v.(mark); is {
		return nil, fmt.Errorf("expected a value on the stack, found a mark")
	}
	u.stack = u.stack[:len(u.stack)-1]
	return v, nil
}

// popN returns the top n values as a tuple of their own.
func (u *unpickler) popN(n int) (tuple, error) {
	out := make(tuple, n)
	for i := n - 1; i >= 0; i-- {
		v, err := u.pop()
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// popMark returns what was pushed after the last mark, and takes the mark.
func (u *unpickler) popMark() (tuple, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, is := u.stack[i].(mark); is {
			out := append(tuple{}, u.stack[i+1:]...)
			u.stack = u.stack[:i]
			return out, nil
		}
	}
	return nil, fmt.Errorf("expected a mark on the stack")
}

func (u *unpickler) top() (any, error) {
	v, err := u.pop()
	if err == nil {
		u.push(v)
	}
	return v, err
}

func (u *unpickler) remember(key int) error {
	v, err := u.top()
	if err == nil {
		u.memo[key] = v
	}
	return err
}

func (u *unpickler) recall(key int) error {
	v, ok := u.memo[key]
	if !ok {
		return fmt.Errorf("nothing remembered as %d", key)
	}
	u.push(v)
	return nil
}

// integer reads a two's complement number of any length.
func (u *unpickler) integer(width uint64) error {
	b, err := u.sized(width)
	switch {
	case err != nil:
		return err
	case len(b) > 8:
		u.push(long(b))
		return nil
	}
	v := int64(0)
	for i, c := range b {
		v |= int64(c) << (8 * i)
	}
	if n := len(b); n > 0 && n < 8 && b[n-1]&0x80 != 0 {
		v -= 1 << (8 * n)
	}
	u.push(v)
	return nil
}

func (u *unpickler) float() error {
	b, err := u.take(8)
	if err == nil {
		u.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	}
	return err
}
