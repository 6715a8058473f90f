package video

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"videosim/shared/errs"
)

// Set is several TFRecord files as one list of videos. Safe for concurrent use.
type Set struct {
	files []*Indexed
	ends  []int // running total of records, by file
}

// OpenSet opens files in the given order.
func OpenSet(paths ...string) (*Set, error) {
	s := &Set{}
	for _, path := range paths {
		x, err := OpenIndexed(path)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.files = append(s.files, x)
		s.ends = append(s.ends, s.Len()+x.Len())
	}
	return s, nil
}

// Len is the number of videos.
func (s *Set) Len() int {
	if len(s.ends) == 0 {
		return 0
	}
	return s.ends[len(s.ends)-1]
}

// Video reads video i, in 0…Len()-1.
func (s *Set) Video(i int) (Video, error) {
	file := sort.SearchInts(s.ends, i+1)
	if file > 0 {
		i -= s.ends[file-1]
	}
	return s.files[file].Video(i)
}

// Paths are the files, in order.
func (s *Set) Paths() []string {
	paths := make([]string, len(s.files))
	for i, x := range s.files {
		paths[i] = x.Path()
	}
	return paths
}

// Close closes all files.
func (s *Set) Close() error {
	var failed []error
	for _, x := range s.files {
		failed = append(failed, x.Close())
	}
	return errors.Join(failed...)
}

// Listing is what a data folder of the challenge's form has, nothing of it
// opened.
type Listing struct {
	Dir       string
	Pointwise []string // pointwise/*.tfrecords, sorted: for pretraining, tags without judgements
	Pairwise  []string // pairwise/*.tfrecords, sorted: the videos that label.tsv judges
	// LabelsPath is label.tsv, in the folder or, as the challenge had it, in
	// pairwise/; "" without one.
	LabelsPath string
	TagsPath   string // tag_list.txt; "" without one
}

// ListFolder looks at a data folder. One without any .tfrecords file under
// pointwise/ and pairwise/ is NotFound.
func ListFolder(dir string) (*Listing, error) {
	l := &Listing{Dir: dir}
	var err error
	if l.Pointwise, err = listPart(dir, "pointwise"); err != nil {
		return nil, err
	}
	if l.Pairwise, err = listPart(dir, "pairwise"); err != nil {
		return nil, err
	}
	if len(l.Pointwise)+len(l.Pairwise) == 0 {
		return nil, errs.New(errs.NotFound, "data folder %s: %w", dir, noRecords())
	}
	for _, name := range []string{"label.tsv", filepath.Join("pairwise", "label.tsv")} {
		if path := filepath.Join(dir, name); l.LabelsPath == "" && exists(path) {
			l.LabelsPath = path
		}
	}
	if path := filepath.Join(dir, "tag_list.txt"); exists(path) {
		l.TagsPath = path
	}
	return l, nil
}

func noRecords() error {
	return errs.New(errs.NotFound, "no records in pointwise/*.tfrecords and pairwise/*.tfrecords")
}

func listPart(dir, part string) ([]string, error) {
	// Through a file system, so that a folder's own name is no pattern.
	names, err := fs.Glob(os.DirFS(dir), part+"/*.tfrecords")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = filepath.Join(dir, filepath.FromSlash(name))
	}
	return paths, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Folder is a data folder whose files are open and sound.
type Folder struct {
	*Listing
	Pointwise *Set     // may be empty
	Pairwise  *Set     // may be empty
	Tags      *TagList // nil without a tag_list.txt
}

// OpenFolder opens what a data folder has. A folder without any record is
// NotFound; a damaged file fails it.
func OpenFolder(dir string) (*Folder, error) {
	l, err := ListFolder(dir)
	if err != nil {
		return nil, err
	}
	f := &Folder{Listing: l, Pointwise: &Set{}, Pairwise: &Set{}}
	if err := f.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open data folder %s: %w", dir, err), f.Close())
	}
	return f, nil
}

func (f *Folder) open() error {
	pointwise, err := OpenSet(f.Listing.Pointwise...)
	if err != nil {
		return err
	}
	f.Pointwise = pointwise
	pairwise, err := OpenSet(f.Listing.Pairwise...)
	if err != nil {
		return err
	}
	f.Pairwise = pairwise
	if f.Pointwise.Len()+f.Pairwise.Len() == 0 {
		return noRecords()
	}
	if f.TagsPath != "" {
		f.Tags, err = ReadTagList(f.TagsPath)
	}
	return err
}

// Close closes all files.
func (f *Folder) Close() error { return errors.Join(f.Pointwise.Close(), f.Pairwise.Close()) }
