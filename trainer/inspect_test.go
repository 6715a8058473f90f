package trainer

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"videosim/shared/errs"
)

// An inspection goes on behind what is wrong, lists it, and ends with an error.
func TestInspectListsProblems(t *testing.T) {
	d := newDataDir(t)
	d.pointwise = slices.Concat([]byte("noise"), d.pointwise)
	d.labels += "p1,p3,0.5\n"
	d.tags += "food\n"
	d.write()
	for path, want := range map[string][]string{
		d.dir: {"4 videos", "16 videos", "8 pairs of 16 videos", "2 tags", "3 problems with the data:",
			"label.tsv: line 9: expected id, id and label", "tag_list.txt: line 3, tag id: expected a whole number"},
		filepath.Join(d.dir, "pointwise", "a.tfrecords"): {"4 records", "a.tfrecords: record 0 at byte 0, record length: expected checksum"},
	} {
		var out bytes.Buffer
		if err := Inspect(&out, path); errs.KindOf(err) != errs.Corrupt || !strings.Contains(err.Error(), "a.tfrecords: record 0 at byte 0") {
			t.Errorf("%s: %v", path, err)
		}
		for _, part := range want {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s: the inspection lacks %q:\n%s", path, part, out.String())
			}
		}
	}
}
