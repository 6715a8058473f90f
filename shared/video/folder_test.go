package video_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// write makes the files of a folder, by path.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func file(t *testing.T, ids ...string) string {
	t.Helper()
	var out []byte
	for _, id := range ids {
		out = video.AppendRecord(out, example(t, video.Video{ID: id}))
	}
	return string(out)
}

func TestOpenFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b]*") // a name that is a pattern
	write(t, dir, map[string]string{
		"pointwise/b.tfrecords": file(t, "p2"),
		"pointwise/a.tfrecords": file(t, "p0", "p1"),
		"pointwise/c.tfrecords": "",
		"pointwise/d.index":     "not read",
		"pairwise/x.tfrecords":  file(t, "q0"),
		"label.tsv":             "",
		"tag_list.txt":          "30\n10\n\n20\n",
	})
	f, err := video.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var ids []string
	for i := range f.Pointwise.Len() {
		v, err := f.Pointwise.Video(i)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, v.ID)
	}
	if !slices.Equal(ids, []string{"p0", "p1", "p2"}) {
		t.Errorf("pointwise %v", ids)
	}
	if f.Pairwise.Len() != 1 || len(f.Pointwise.Paths()) != 3 || f.Tags.Len() != 3 {
		t.Errorf("%d pairwise, files %v", f.Pairwise.Len(), f.Pointwise.Paths())
	}
	if f.LabelsPath != filepath.Join(dir, "label.tsv") {
		t.Errorf("labels %q", f.LabelsPath)
	}
}

func TestOpenFolderPartly(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"pairwise/x.tfrecords": file(t, "q0"), "pairwise/label.tsv": ""})
	f, err := video.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Pointwise.Len() != 0 || f.Pairwise.Len() != 1 || f.Tags != nil {
		t.Errorf("%+v", f)
	}
	if f.LabelsPath != filepath.Join(dir, "pairwise", "label.tsv") {
		t.Errorf("labels %q", f.LabelsPath)
	}
}

func TestOpenFolderRefuses(t *testing.T) {
	good := file(t, "p0")
	for name, c := range map[string]struct {
		files map[string]string
		kind  errs.Kind
		says  string
	}{
		"empty":       {nil, errs.NotFound, "no records"},
		"damaged":     {map[string]string{"pointwise/a.tfrecords": good[:20]}, errs.Corrupt, "a.tfrecords: record 0 at byte 0"},
		"tag no id":   {map[string]string{"pointwise/a.tfrecords": good, "tag_list.txt": "1\nx\n"}, errs.Invalid, "line 2"},
		"tag repeats": {map[string]string{"pointwise/a.tfrecords": good, "tag_list.txt": "7\n5\n7\n"}, errs.Invalid, "tag 7"},
	} {
		dir := t.TempDir()
		write(t, dir, c.files)
		_, err := video.OpenFolder(dir)
		if err == nil || errs.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTagColumns(t *testing.T) {
	tags, err := video.NewTagList([]int64{30, 5, 800000000, 10})
	if err != nil {
		t.Fatal(err)
	}
	if got := tags.Columns([]int64{800000000, 5, 99, 5, 30}); !slices.Equal(got, []int{0, 2, 3}) {
		t.Errorf("columns %v", got)
	}
	if got := tags.Columns(nil); len(got) != 0 {
		t.Errorf("columns of no tags %v", got)
	}
}
