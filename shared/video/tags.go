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

// ReadTagList reads tag_list.txt: one id a line; blank lines are skipped.
func ReadTagList(path string) (*TagList, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ids []int64
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		id, err := strconv.ParseInt(line, 10, 64)
		if err != nil {
			return nil, errs.Field("tag_list", "%s: line %d: expected a tag id, found %q", path, n, line)
		}
		ids = append(ids, id)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read tag list %s: %w", path, err)
	}
	list, err := NewTagList(ids)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
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
