package vecdb

import (
	"encoding/binary"
	"math"
	"sync"
	"unsafe"
)

// blockRows is the number of rows that share a lock and an allocation. A
// search holds a block's lock for about 30 µs (256-d), which is the longest
// that the writer waits for it.
const blockRows = 4096

// block holds blockRows slots. A slot is empty where rest is "". Slots never
// move while a search runs, so a search sees every row that nobody writes
// exactly once, and a row that is being replaced as either its old or its new
// self.
type block struct {
	mu        sync.RWMutex
	used      int       // slots at or past it have never held a row
	quant     []int8    // blockRows × stride: the embedding divided by scale, rounded
	embedding []float32 // blockRows × dim
	scale     []float32
	slack     []float32 // how far the int8 product may be off; see quantise
	category  []int64
	published []int64 // Unix milliseconds; noTime when unknown
	tagBits   []uint64
	sequence  []uint64
	rest      []string // id, tags, title, thumbnail, packed
	memory    []byte   // what quant and embedding lie in, outside the Go heap
}

func newBlock(dim, stride int) (*block, error) {
	memory, err := allocate(blockRows*stride + blockRows*dim*4)
	if err != nil {
		return nil, err
	}
	b := &block{
		memory:    memory,
		quant:     unsafe.Slice((*int8)(unsafe.Pointer(&memory[0])), blockRows*stride),
		embedding: unsafe.Slice((*float32)(unsafe.Pointer(&memory[blockRows*stride])), blockRows*dim),
		scale:     make([]float32, blockRows),
		slack:     make([]float32, blockRows),
		category:  make([]int64, blockRows),
		published: make([]int64, blockRows),
		tagBits:   make([]uint64, blockRows),
		sequence:  make([]uint64, blockRows),
		rest:      make([]string, blockRows),
	}
	return b, nil
}

// row is a record in its stored form.
type row struct {
	quant     []int8
	embedding []float32
	scale     float32
	slack     float32
	category  int64
	published int64
	tagBits   uint64
	sequence  uint64
	rest      string
}

// view returns the row at i. Its slices lie in the block: they hold while the
// block's lock, or the index's ids lock, is held.
func (b *block) view(i, dim, stride int) row {
	return row{
		quant:     b.quant[i*stride : (i+1)*stride],
		embedding: b.embedding[i*dim : (i+1)*dim],
		scale:     b.scale[i],
		slack:     b.slack[i],
		category:  b.category[i],
		published: b.published[i],
		tagBits:   b.tagBits[i],
		sequence:  b.sequence[i],
		rest:      b.rest[i],
	}
}

// set copies r into slot i.
func (b *block) set(i int, r *row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	copy(b.quant[i*len(r.quant):], r.quant)
	copy(b.embedding[i*len(r.embedding):], r.embedding)
	b.scale[i], b.slack[i] = r.scale, r.slack
	b.category[i], b.published[i] = r.category, r.published
	b.tagBits[i], b.sequence[i] = r.tagBits, r.sequence
	b.rest[i] = r.rest
	b.used = max(b.used, i+1)
}

// clear empties slot i. The slack makes the scan pass over it.
func (b *block) clear(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scale[i], b.slack[i] = 0, float32(math.Inf(-1))
	b.tagBits[i] = 0
	b.rest[i] = ""
}

// pack encodes the fields that a scan does not read: id (one byte of length),
// tags, title, thumbnail. One string a row keeps the heap small.
func pack(r *Record) string {
	title := storedTitle(r.Title)
	buf := make([]byte, 0, 16+len(r.ID)+len(title)+len(r.ThumbnailURL)+4*len(r.TagIDs))
	buf = append(buf, byte(len(r.ID)))
	buf = append(buf, r.ID...)
	buf = binary.AppendUvarint(buf, uint64(len(r.TagIDs)))
	for _, t := range r.TagIDs {
		buf = binary.AppendVarint(buf, t)
	}
	buf = binary.AppendUvarint(buf, uint64(len(title)))
	buf = append(buf, title...)
	buf = append(buf, r.ThumbnailURL...)
	return string(buf)
}

// packedID returns the id of a packed string without a copy.
func packedID(s string) string { return s[1 : 1+int(s[0])] }

// unpack is pack's inverse. The strings of the result share s's memory.
func unpack(s string, r *Record) {
	r.ID = packedID(s)
	s = s[1+len(r.ID):]
	count, s := uvarint(s)
	if count > 0 {
		r.TagIDs = make([]int64, count)
		for i := range r.TagIDs {
			r.TagIDs[i], s = varint(s)
		}
	}
	n, s := uvarint(s)
	r.Title, r.ThumbnailURL = s[:n], s[n:]
}

// packedHasTag reports whether one of tags is among the packed ones.
func packedHasTag(s string, tags []int64) bool {
	count, s := uvarint(s[1+int(s[0]):])
	for range count {
		var tag int64
		tag, s = varint(s)
		for _, t := range tags {
			if t == tag {
				return true
			}
		}
	}
	return false
}

// uvarint reads what binary.AppendUvarint wrote, without turning s into bytes.
func uvarint(s string) (uint64, string) {
	var v uint64
	for i := 0; ; i++ {
		c := s[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, s[i+1:]
		}
	}
}

func varint(s string) (int64, string) {
	u, s := uvarint(s)
	return int64(u>>1) ^ -int64(u&1), s
}
