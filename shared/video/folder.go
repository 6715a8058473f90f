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

// Folder is a data folder of the challenge's form.
type Folder struct {
	Dir       string
	Pointwise *Set // pretraining: tags, no judgements; may be empty
	Pairwise  *Set // the videos that label.tsv judges; may be empty
	// LabelsPath is label.tsv, in the folder or, as the challenge had it, in
	// pairwise/; "" without one.
	LabelsPath string
	Tags       *TagList // nil without a tag_list.txt
}

// OpenFolder opens what a data folder has. A folder without any
// .tfrecords file under pointwise/ and pairwise/ is NotFound.
func OpenFolder(dir string) (*Folder, error) {
	f := &Folder{Dir: dir, Pointwise: &Set{}, Pairwise: &Set{}}
	if err := f.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open data folder %s: %w", dir, err), f.Close())
	}
	return f, nil
}

func (f *Folder) open() (err error) {
	if f.Pointwise, err = openPart(f.Dir, "pointwise"); err != nil {
		return err
	}
	if f.Pairwise, err = openPart(f.Dir, "pairwise"); err != nil {
		return err
	}
	if f.Pointwise.Len()+f.Pairwise.Len() == 0 {
		return errs.New(errs.NotFound, "no records in pointwise/*.tfrecords and pairwise/*.tfrecords")
	}
	for _, name := range []string{"label.tsv", filepath.Join("pairwise", "label.tsv")} {
		if path := filepath.Join(f.Dir, name); f.LabelsPath == "" && exists(path) {
			f.LabelsPath = path
		}
	}
	if path := filepath.Join(f.Dir, "tag_list.txt"); exists(path) {
		f.Tags, err = ReadTagList(path)
	}
	return err
}

func openPart(dir, part string) (*Set, error) {
	// Through a file system, so that a folder's own name is no pattern.
	names, err := fs.Glob(os.DirFS(dir), part+"/*.tfrecords")
	if err != nil {
		return &Set{}, err
	}
	slices.Sort(names)
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = filepath.Join(dir, filepath.FromSlash(name))
	}
	set, err := OpenSet(paths...)
	if err != nil {
		return &Set{}, err
	}
	return set, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Close closes all files.
func (f *Folder) Close() error { return errors.Join(f.Pointwise.Close(), f.Pairwise.Close()) }
