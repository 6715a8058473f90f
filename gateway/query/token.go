package query

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"videosim/shared/event"
)

// packer appends the fields of a token; unpacker reads them in the same order.
type packer []byte

func (w *packer) number(n uint64)   { *w = binary.AppendUvarint(*w, n) }
func (w *packer) float(x float32)   { *w = binary.BigEndian.AppendUint32(*w, math.Float32bits(x)) }
func (w *packer) fixed(n uint64)    { *w = binary.BigEndian.AppendUint64(*w, n) }
func (w *packer) text(s string)     { w.number(uint64(len(s))); *w = append(*w, s...) }
func (w *packer) place(c candidate) { w.text(c.id); w.float(c.cosine); w.number(c.sequence) }

func (w *packer) token(t token) error {
	w.number(uint64(t.expires))
	w.number(t.seen)
	pack(w, t.direction, w.float)
	pack(w, t.missing, w.text)
	inputs := make([][]byte, len(t.reports))
	for i, r := range t.reports {
		var err error
		if inputs[i], err = proto.Marshal(r.Input); err != nil {
			return fmt.Errorf("keep the report on %s: %w", r.Path, err)
		}
	}
	w.number(uint64(len(t.reports)))
	for i, r := range t.reports {
		w.text(r.Path)
		w.text(r.ID)
		w.text(string(inputs[i]))
	}
	w.place(t.last)
	pack(w, t.shown, w.fixed)
	pack(w, t.rest, w.place)
	return nil
}

func pack[T any](w *packer, all []T, one func(T)) {
	w.number(uint64(len(all)))
	for _, x := range all {
		one(x)
	}
}

// unpacker keeps its first error and reads zeros from there on.
type unpacker struct {
	rest []byte
	err  error
}

var errShort = errors.New("it ends too early")

func (r *unpacker) bytes(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.err = errShort
		return make([]byte, 8) // for the numbers of fixed size
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *unpacker) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.err = errShort
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *unpacker) float() float32 { return math.Float32frombits(binary.BigEndian.Uint32(r.bytes(4))) }
func (r *unpacker) fixed() uint64  { return binary.BigEndian.Uint64(r.bytes(8)) }
func (r *unpacker) text() string   { return string(r.bytes(r.number())) }
func (r *unpacker) place() candidate {
	return candidate{id: r.text(), cosine: r.float(), sequence: r.number()}
}

func (r *unpacker) report() Report {
	report := Report{Path: r.text(), ID: r.text(), Input: &event.InputReport{}}
	if err := proto.Unmarshal(r.bytes(r.number()), report.Input); err != nil && r.err == nil {
		r.err = err
	}
	return report
}

func (r *unpacker) token() (t token) {
	t.expires, t.seen = int64(r.number()), r.number()
	t.direction, t.missing, t.reports = unpack(r, r.float), unpack(r, r.text), unpack(r, r.report)
	t.last, t.shown, t.rest = r.place(), unpack(r, r.fixed), unpack(r, r.place)
	return t
}

func unpack[T any](r *unpacker, one func() T) []T {
	var all []T
	for n := r.number(); n > 0 && r.err == nil; n-- {
		all = append(all, one())
	}
	return all
}
