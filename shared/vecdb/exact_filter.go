package vecdb

import "slices"

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
	tagMasks   []uint64 // for each tag, the bits that a row with it has set
	exclude    map[string]struct{}
}

func newRowFilter(f *Filter) *rowFilter {
	r := &rowFilter{categories: slices.Sorted(slices.Values(f.Categories)), tags: f.Tags}
	r.from, r.to, r.timed = f.timeRange()
	for _, t := range f.Tags {
		r.tagMasks = append(r.tagMasks, tagMask(t))
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

// rows writes the numbers of the rows in [base, base+n) that the columns do
// not rule out to index and returns how many they are. Each loop writes first
// and counts then, which compiles to code without branches.
func (f *rowFilter) rows(b *block, base, n int, index []int32) int {
	index = index[:n]
	for i := range index {
		index[i] = int32(base + i)
	}
	if len(f.categories) > 0 {
		n = f.byCategory(b.category, index)
	}
	if f.timed {
		n = f.byTime(b.published, index[:n])
	}
	if len(f.tagMasks) > 0 {
		n = f.byTagBits(b.tagBits, index[:n])
	}
	return n
}

// row is what rows says of a single row.
func (f *rowFilter) row(b *block, i int) bool {
	if len(f.categories) > 0 && !f.hasCategory(b.category[i]) {
		return false
	}
	if f.timed && uint64(b.published[i])-uint64(f.from) >= f.span() {
		return false
	}
	return len(f.tagMasks) == 0 || f.passTagBits(b.tagBits[i])
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

func (f *rowFilter) passTagBits(bits uint64) bool {
	for _, m := range f.tagMasks {
		if bits&m == m {
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

// tagMask is a tag's signature: two of 64 bits. A row's tagBits are the union
// over its tags, so a row without a tag's bits does not have it; with ten tags
// a row, 7 % of the others have the bits by chance and go on to final.
func tagMask(tag int64) uint64 {
	h := uint64(tag) * 0x9E3779B97F4A7C15 // Fibonacci hashing: the high bits are mixed
	return 1<<(h>>58) | 1<<(h>>52&63)
}

func tagBits(tags []int64) uint64 {
	var bits uint64
	for _, t := range tags {
		bits |= tagMask(t)
	}
	return bits
}
