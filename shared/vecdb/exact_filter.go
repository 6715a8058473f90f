package vecdb

import (
	"math/bits"
	"slices"
)

// rowFilter is a Filter made ready for a scan. It works in two steps: columns
// decides by the columns alone, before any product is computed, and rejects
// most; final is exact, and asked only for rows that would make it into the
// answer.
type rowFilter struct {
	columns    bool    // whether the first step restricts anything
	categories []int64 // ascending
	table      []bool  // table[c-categories[0]], where they lie close enough
	timed      bool
	from, to   int64
	tags       []int64
	tagFirst   uint64     // the first bits of all tags' signatures
	tagSecond  [64]uint64 // for each first bit, the second ones
	exclude    map[string]struct{}
}

func newRowFilter(f *Filter) *rowFilter {
	r := &rowFilter{categories: slices.Sorted(slices.Values(f.Categories)), tags: f.Tags}
	r.from, r.to, r.timed = f.timeRange()
	for _, t := range f.Tags {
		first, second := tagSignature(t)
		r.tagFirst |= 1 << first
		r.tagSecond[first] |= 1 << second
	}
	if len(f.ExcludeIDs) > 0 {
		r.exclude = make(map[string]struct{}, len(f.ExcludeIDs))
		for _, id := range f.ExcludeIDs {
			r.exclude[id] = struct{}{}
		}
	}
	r.table = categoryTable(r.categories)
	r.columns = r.timed || len(r.categories) > 0 || len(r.tags) > 0
	return r
}

// categoryTable answers for any category in one step. It is nil where the
// categories are too far apart for it.
func categoryTable(ascending []int64) []bool {
	const widest = 1 << 14
	if len(ascending) == 0 {
		return nil
	}
	lowest := ascending[0]
	width := uint64(ascending[len(ascending)-1]) - uint64(lowest)
	if width >= widest {
		return nil
	}
	table := make([]bool, width+1)
	for _, c := range ascending {
		table[c-lowest] = true
	}
	return table
}

// rows writes the numbers of the first n rows that the columns do not rule out
// to index and returns how many they are.
func (f *rowFilter) rows(b *block, n int, index []int32) int {
	index = index[:n]
	for i := range index {
		index[i] = int32(i)
	}
	return f.narrow(b, index)
}

// narrow keeps the rows of index that the columns do not rule out, at its
// front, and returns how many they are. Each loop writes first and counts then,
// which compiles to code without branches: waits for memory overlap.
func (f *rowFilter) narrow(b *block, index []int32) int {
	n := len(index)
	if len(f.categories) > 0 {
		n = f.byCategory(b.category, index)
	}
	if f.timed {
		n = f.byTime(b.published, index[:n])
	}
	if len(f.tags) > 0 {
		n = f.byTagBits(b.tagBits, index[:n])
	}
	return n
}

// span is the width of the time range.
func (f *rowFilter) span() uint64 { return uint64(max(f.to, f.from)) - uint64(f.from) }

func (f *rowFilter) byCategory(column []int64, index []int32) (n int) {
	for _, row := range index {
		index[n] = row
		if f.hasCategory(column[row]) {
			n++
		}
	}
	return n
}

func (f *rowFilter) hasCategory(c int64) bool {
	if f.table != nil {
		i := uint64(c) - uint64(f.categories[0]) // huge when c is below the first
		return i < uint64(len(f.table)) && f.table[i]
	}
	_, found := slices.BinarySearch(f.categories, c)
	return found
}

func (f *rowFilter) byTime(column []int64, index []int32) (n int) {
	span := f.span()
	for _, row := range index {
		index[n] = row
		if uint64(column[row])-uint64(f.from) < span { // from ≤ time < to in one comparison
			n++
		}
	}
	return n
}

func (f *rowFilter) byTagBits(column []uint64, index []int32) (n int) {
	for _, row := range index {
		index[n] = row
		if f.passTagBits(column[row]) {
			n++
		}
	}
	return n
}

// passTagBits reports whether both bits of one of the tags are set. It costs
// what the row's bits cost, however many tags are asked for.
func (f *rowFilter) passTagBits(set uint64) bool {
	for firsts := set & f.tagFirst; firsts != 0; firsts &= firsts - 1 {
		if set&f.tagSecond[bits.TrailingZeros64(firsts)] != 0 {
			return true
		}
	}
	return false
}

// final decides about one row by its packed fields.
func (f *rowFilter) final(rest string) bool {
	if len(f.tags) > 0 && !packedHasTag(rest, f.tags) {
		return false
	}
	if f.exclude == nil {
		return true
	}
	_, excluded := f.exclude[packedID(rest)]
	return !excluded
}

// tagSignature is two of 64 bits. A row's tagBits are the union over its tags,
// so a row without a tag's bits does not have it; with ten tags a row, 7 % of
// the others have the bits by chance and go on to final.
func tagSignature(tag int64) (first, second uint64) {
	h := uint64(tag) * 0x9E3779B97F4A7C15 // Fibonacci hashing: the high bits are mixed
	return h >> 58, h >> 52 & 63
}

func tagBits(tags []int64) uint64 {
	var set uint64
	for _, t := range tags {
		first, second := tagSignature(t)
		set |= 1<<first | 1<<second
	}
	return set
}
