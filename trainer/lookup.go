package trainer

import (
	"cmp"
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// videoLookup finds some videos of a data folder by their ids.
type videoLookup struct {
	files    []*video.RecordFile
	where    map[string]place
	problems problems // of the files that were read
}

// findVideos looks for the records of ids in a data folder. As everywhere, the
// last record of an id counts, pairwise files after pointwise ones, so pointwise
// files are read only for ids that no pairwise file has. Records that cannot
// be used are passed over and noted.
func findVideos(ctx context.Context, dir string, ids []string) (*videoLookup, error) {
	listing, err := video.ListFolder(dir)
	if err != nil {
		return nil, err
	}
	l := &videoLookup{where: make(map[string]place, len(ids))}
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	for _, paths := range [][]string{listing.Pairwise, listing.Pointwise} {
		if err := l.search(ctx, paths, wanted); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		for id := range l.where {
			delete(wanted, id)
		}
		if len(wanted) == 0 {
			break
		}
	}
	return l, nil
}

// search scans files for wanted ids, several files at once.
func (l *videoLookup) search(ctx context.Context, paths []string, wanted map[string]bool) error {
	from := len(l.files)
	for _, path := range paths {
		f, err := video.OpenRecords(path)
		if err != nil {
			return err
		}
		l.files = append(l.files, f)
	}
	found, failed := make([]videoLookup, len(paths)), make([]error, len(paths))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range l.files[from:] {
		group.Go(func() error {
			found[i].where = make(map[string]place)
			failed[i] = f.Scan(ctx, func(s video.Scanned) error {
				if s.Err != nil {
					return found[i].problems.note(recordProblem(s))
				}
				if wanted[s.Outline.ID] {
					found[i].where[s.Outline.ID] = place{file: from + i, span: s.Span}
				}
				return nil
			})
			return nil
		})
	}
	if err := errors.Join(group.Wait(), cmp.Or(failed...)); err != nil {
		return err
	}
	for _, part := range found { // in order of the files: a later one counts
		for id, p := range part.where {
			l.where[id] = p
		}
		if err := l.problems.merge(part.problems.tallies); err != nil {
			return err
		}
	}
	return nil
}

// known are those of ids that the folder has, in their order.
func (l *videoLookup) known(ids []string) []string {
	var out []string
	for _, id := range ids {
		if _, ok := l.where[id]; ok {
			out = append(out, id)
		}
	}
	return out
}

// video reads a known video.
func (l *videoLookup) video(id string) (video.Video, error) {
	p, ok := l.where[id]
	if !ok {
		return video.Video{}, errs.New(errs.NotFound, "video %q has no usable record", id)
	}
	return l.files[p.file].Video(p.span)
}

// Close closes all files.
func (l *videoLookup) Close() error {
	var failed []error
	for _, f := range l.files {
		failed = append(failed, f.Close())
	}
	return errors.Join(failed...)
}
