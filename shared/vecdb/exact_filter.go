package vecdb

import "slices"

// rowFilter is a Filter made ready for a scan. It works in two steps: columns
// decides by the columns alone, before any product is computed, and rejects
// most; final is exact, and asked only for rows that would make it into the
// answer.
type rowFilter struct {
	columns    bool // whether the first step restricts anything
	categories []int64
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
	r.columns = r.timed || len(r.categories) > 0 || len(r.tags) > 0
	return r
}

// pass sets pass[i] for the rows base+i that the columns do not rule out and
// reports whether there are any.
func (f *rowFilter) pass(b *block, base int, pass []bool) bool {
	for i := range pass {
		pass[i] = true
	}
	if len(f.categories) > 0 {
		f.passCategory(b.category[base:base+len(pass)], pass)
	}
	if f.timed {
		for i, ms := range b.published[base : base+len(pass)] {
			pass[i] = pass[i] && ms >= f.from && ms < f.to
		}
	}
	if len(f.tagMasks) > 0 {
		for i, bits := range b.tagBits[base : base+len(pass)] {
			pass[i] = pass[i] && f.passTagBits(bits)
		}
	}
	return slices.Contains(pass, true)
}

func (f *rowFilter) passCategory(column []int64, pass []bool) {
	if len(f.categories) == 1 {
		only := f.categories[0]
		for i, c := range column {
			pass[i] = c == only
		}
		return
	}
	for i, c := range column {
		_, pass[i] = slices.BinarySearch(f.categories, c)
	}
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
