package vecdb

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"videosim/shared/errs"
)

// Caps on what a Record and a Query may hold. Both implementations apply them,
// so that an index can be swapped without a record changing its fate. They are
// what Milvus can store (2.3: varchar 65,535 bytes, arrays of 4,096).
const (
	MaxIDBytes        = 64
	MaxTitleBytes     = 65535 // longer titles are cut before the rune that crosses it
	MaxThumbnailBytes = 65535
	MaxTags           = 4096
	MaxFilterValues   = 4096  // of Filter.Categories and Filter.Tags, each
	MaxExcludeIDs     = 16384 // of Filter.ExcludeIDs
)

// maxNorm bounds the Euclidean norm of vectors, so that no product of two of
// them leaves the range of float32. Embeddings have norm 1; sums of a few, as
// queries use, stay far below.
const maxNorm = 1e6

// noTime is the stored published_at (Unix milliseconds) of a record without
// one: the zero time.Time's own value, which no real video has.
const noTime = int64(-62135596800000)

func checkRecords(records []Record, dim int) error {
	seen := make(map[string]struct{}, len(records))
	for i := range records {
		r := &records[i]
		if err := checkRecord(r, dim); err != nil {
			return err
		}
		if _, twice := seen[r.ID]; twice {
			return errs.Field("id", "%q occurs twice in one upsert", r.ID)
		}
		seen[r.ID] = struct{}{}
	}
	return nil
}

func checkRecord(r *Record, dim int) error {
	if err := checkID("id", r.ID); err != nil {
		return err
	}
	if err := checkVector("embedding", r.Embedding, dim); err != nil {
		return err
	}
	if len(r.TagIDs) > MaxTags {
		return errs.Field("tag_ids", "expected at most %d, found %d", MaxTags, len(r.TagIDs))
	}
	if len(r.ThumbnailURL) > MaxThumbnailBytes {
		return errs.Field("thumbnail_url", "expected at most %d bytes, found %d", MaxThumbnailBytes, len(r.ThumbnailURL))
	}
	if r.Sequence > math.MaxInt64 {
		return errs.Field("sequence", "expected at most %d, found %d", int64(math.MaxInt64), r.Sequence)
	}
	return nil
}

func checkIDs(field string, ids []string) error {
	for _, id := range ids {
		if err := checkID(field, id); err != nil {
			return err
		}
	}
	return nil
}

func checkID(field, id string) error {
	if len(id) == 0 || len(id) > MaxIDBytes {
		return errs.Field(field, "expected 1 to %d bytes, found %d", MaxIDBytes, len(id))
	}
	if !utf8.ValidString(id) {
		return errs.Field(field, "%q is not UTF-8", id)
	}
	if strings.IndexByte(id, 0) >= 0 {
		return errs.Field(field, "%q holds a zero byte", id)
	}
	return nil
}

func checkVector(field string, v []float32, dim int) error {
	if len(v) != dim {
		return errs.Field(field, "expected %d numbers, found %d", dim, len(v))
	}
	sum := 0.0
	for _, f := range v {
		sum += float64(f) * float64(f)
	}
	if sum <= maxNorm*maxNorm { // which no sum is that a NaN or an infinity has entered
		return nil
	}
	for i, f := range v {
		if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
			return errs.Field(field, "expected finite numbers, found %v at %d", f, i)
		}
	}
	return errs.Field(field, "expected a norm of at most %g, found %g", maxNorm, math.Sqrt(sum))
}

func checkQuery(q *Query, dim int) error {
	if q.K < 1 || q.K > MaxK {
		return errs.Field("k", "expected 1 to %d, found %d", MaxK, q.K)
	}
	if err := checkVector("vector", q.Vector, dim); err != nil {
		return err
	}
	f := &q.Filter
	if n := max(len(f.Categories), len(f.Tags)); n > MaxFilterValues {
		return errs.Field("filter", "expected at most %d categories and tags, found %d", MaxFilterValues, n)
	}
	if len(f.ExcludeIDs) > MaxExcludeIDs {
		return errs.Field("exclude_ids", "expected at most %d, found %d", MaxExcludeIDs, len(f.ExcludeIDs))
	}
	return checkIDs("exclude_ids", f.ExcludeIDs)
}

// storedTitle is the title as every implementation keeps it: valid UTF-8, cut
// at a rune boundary to MaxTitleBytes.
func storedTitle(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxTitleBytes {
		return s
	}
	n := MaxTitleBytes
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func storedTime(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	return t.UnixMilli()
}

func loadedTime(ms int64) time.Time {
	if ms == noTime {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// timeRange turns the filter's bounds into the half-open range of stored
// milliseconds that passes. Records without a time pass only when neither
// bound is set.
func (f *Filter) timeRange() (from, to int64, restricted bool) {
	from, to = noTime+1, math.MaxInt64
	if !f.PublishedAfter.IsZero() {
		from = max(from, ceilMilli(f.PublishedAfter))
	}
	if !f.PublishedBefore.IsZero() {
		to = ceilMilli(f.PublishedBefore)
	}
	return from, to, !f.PublishedAfter.IsZero() || !f.PublishedBefore.IsZero()
}

func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}
