package vecdb

import (
	"encoding/binary"
	"math"
	"sync"
	"unsafe"
)

// blockRows is the number of rows that share a lock and an allocation. A
// search holds a block's lock for about 40 µs (256-d), which is the longest
// that the writer waits for it.
const blockRows = 4096

// block holds blockRows slots. A slot is empty where rest is "". Slots never
// move while a search runs, so a search sees every row that nobody writes
// exactly once, and a row that is being replaced as either its old or its new
// self.
type block struct {
	mu        sync.RWMutex
	used      int       // slots at or past it have never held a row
	reach     float32   // no row's quantised form has a larger norm; see quantise
	quant     []byte    // blockRows × stride/2: the embedding in 4 bits a number
	embedding []float32 // blockRows × dim
	scale     []float32
	slack     []float32 // how far the quantised row is from the row; see quantise
	category  []int64
	published []int64 // Unix milliseconds; noTime when unknown
	tagBits   []uint64
	sequence  []uint64
	rest      []string // id, tags, title, thumbnail, packed
	memory    []byte   // what all of these but rest lie in, outside the Go heap
}

// rowBytes is what a row takes of a block's memory.
func rowBytes(dim, stride int) int { return stride/2 + 4*dim + 2*4 + 4*8 }

func newBlock(dim, stride int) (*block, error) {
	memory, err := allocate(blockRows * rowBytes(dim, stride))
	if err != nil {
		return nil, err
	}
	b := &block{memory: memory, rest: make([]string, blockRows)}
	// The widest numbers first, so that all lie at multiples of their width.
	left := memory
	left, b.category = carve[int64](left, blockRows)
	left, b.published = carve[int64](left, blockRows)
	left, b.tagBits = carve[uint64](left, blockRows)
	left, b.sequence = carve[uint64](left, blockRows)
	left, b.quant = carve[byte](left, blockRows*stride/2)
	left, b.embedding = carve[float32](left, blockRows*dim)
	left, b.scale = carve[float32](left, blockRows)
	_, b.slack = carve[float32](left, blockRows)
	return b, nil
}

// carve takes n numbers off the front of memory.
func carve[T any](memory []byte, n int) (left []byte, taken []T) {
	var number T
	return memory[n*int(unsafe.Sizeof(number)):], unsafe.Slice((*T)(unsafe.Pointer(&memory[0])), n)
}

// row is a record in its stored form.
type row struct {
	quant     []byte
	embedding []float32
	scale     float32
	slack     float32
	reach     float32
	category  int64
	published int64
	tagBits   uint64
	sequence  uint64
	rest      string
}

// newRow is r in its stored form, its numbers in quant.
func newRow(r *Record, quant []byte) row {
	scale, slack, reach := quantise(quant, r.Embedding)
	return row{
		quant: quant, embedding: r.Embedding, scale: scale, slack: slack, reach: reach,
		category: r.CategoryID, published: storedTime(r.PublishedAt),
		tagBits: tagBits(r.TagIDs), sequence: r.Sequence, rest: pack(r),
	}
}

// view returns the row at i. Its slices lie in the block: they hold while the
// block's lock, or the index's ids lock, is held.
func (b *block) view(i, dim, stride int) row {
	return row{
		quant:     b.quant[i*stride/2 : (i+1)*stride/2],
		embedding: b.embedding[i*dim : (i+1)*dim],
		scale:     b.scale[i],
		slack:     b.slack[i],
		reach:     b.reach,
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
	b.reach = max(b.reach, r.reach)
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
