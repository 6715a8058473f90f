package video

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"videosim/shared/errs"
)

// TagList says which tags the models learn, and their columns in the label
// vector: a tag's column is its rank in ascending numeric order, wherever its
// line is in the file.
type TagList struct {
	ids []int64 // ascending
}

// NewTagList makes a list of tag ids, in any order. A repeated id is Invalid.
func NewTagList(ids []int64) (*TagList, error) {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return nil, errs.Field("tag_list", "tag %d is listed twice", sorted[i])
		}
	}
	return &TagList{ids: sorted}, nil
}

// ReadTagList reads tag_list.txt: one id a line, in any order; blank lines and
// a byte order mark are passed over. It stops at the first line that is no id or
// repeats one.
func ReadTagList(path string) (*TagList, error) {
	return ScanTagList(path, func(_ int, err error) error { return fmt.Errorf("%s: %w", path, err) })
}

// ScanTagList reads tag_list.txt and calls bad for every line that is no id or
// repeats one: an Invalid error with the line in its field and an errs.Mismatch.
// The line is left out, unless bad returns an error, which ends the reading.
func ScanTagList(path string, bad func(line int, err error) error) (*TagList, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ids []int64
	lineOf := make(map[int64]int)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" {
			continue
		}
		id, err := strconv.ParseInt(line, 10, 64)
		first := lineOf[id]
		if err == nil && first == 0 {
			ids, lineOf[id] = append(ids, id), n
			continue
		}
		field, expected, found := fmt.Sprintf("line %d, tag id", n), "a whole number", quote([]byte(line))
		if err == nil {
			expected, found = "every id once", fmt.Sprintf("tag %d as in line %d", id, first)
		}
		if err := bad(n, errs.Unlike(errs.Invalid, field, expected, found)); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read tag list %s: %w", path, err)
	}
	return NewTagList(ids)
}

// Len is the number of tags, and so of columns.
func (t *TagList) Len() int { return len(t.ids) }

// Columns returns the columns of a video's tags, ascending. Tags that are not
// in the list are left out, repeated ones count once.
func (t *TagList) Columns(tagIDs []int64) []int {
	columns := make([]int, 0, len(tagIDs))
	for _, id := range tagIDs {
		if at, ok := slices.BinarySearch(t.ids, id); ok {
			columns = append(columns, at)
		}
	}
	slices.Sort(columns)
	return slices.Compact(columns)
}
