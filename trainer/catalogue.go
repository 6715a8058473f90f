package trainer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// catalogue says where in its files every usable video of a data folder lies:
// a word of eight bytes each. Only the ids that were asked for are kept; those
// of a million videos would be a hundred megabytes.
//
// A video with several records, in whichever files, is the last of them.
type catalogue struct {
	files     []*video.RecordFile // pointwise, then pairwise
	pointwise int                 // how many of files are pointwise
	frameDim  int                 // that of most videos with frames; 0 if none has
	distinct  int                 // videos, each counted once
	where     map[string]place    // of the ids that were asked for
	digests   []string            // of the files

	spans []video.Span // of each record, files in order
	ends  []int        // running total of records, by file
	again []bool       // records that a later one of the same id replaces; nil if none
}

// place is where a video lies.
type place struct {
	file   int
	record int // in spans, until keep
	span   video.Span
}

// newCatalogue scans the files of a folder, or reads what earlier runs have
// kept of it in work, and notes what is wrong with them. wanted are the ids
// whose places are kept.
func newCatalogue(ctx context.Context, l *video.Listing, work string, wanted map[string]bool, wrong *problems) (*catalogue, error) {
	c := &catalogue{pointwise: len(l.Pointwise), where: make(map[string]place, len(wanted))}
	if err := c.open(ctx, slices.Concat(l.Pointwise, l.Pairwise), work, wanted, wrong); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *catalogue) open(ctx context.Context, paths []string, work string, wanted map[string]bool, wrong *problems) error {
	for _, path := range paths {
		f, err := video.OpenRecords(path)
		if err != nil {
			return err
		}
		c.files = append(c.files, f)
	}
	sidecars, err := openSidecars(ctx, work, c.files, wrong.strict)
	if err != nil {
		return err
	}
	widths := make(map[int]int)
	for _, s := range sidecars {
		c.digests = append(c.digests, s.end.Digest)
		for width, n := range s.end.Widths {
			widths[width] += n
		}
		if err := wrong.merge(s.end.Problems); err != nil {
			return err
		}
	}
	c.frameDim = mostCommon(widths)
	return c.gather(ctx, sidecars, wanted, wrong)
}

// openSidecars scans several files at once. Of several errors it returns that
// of the first file, however the goroutines ran.
func openSidecars(ctx context.Context, work string, files []*video.RecordFile, strict bool) ([]*sidecar, error) {
	folder := filepath.Join(work, "records")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("make the work folder: %w", err)
	}
	sidecars, failed := make([]*sidecar, len(files)), make([]error, len(files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range files {
		group.Go(func() error {
			sidecars[i], failed[i] = openSidecar(ctx, folder, f, strict)
			return nil // the other files go on: one of them may come first
		})
	}
	return sidecars, errors.Join(group.Wait(), cmp.Or(failed...))
}

// mostCommon is the key with the highest count, the least of several.
func mostCommon(counts map[int]int) int {
	best := 0
	for key, n := range counts {
		if n > counts[best] || n == counts[best] && key < best {
			best = key
		}
	}
	return best
}

// gather makes the lists of places from the sidecars.
func (c *catalogue) gather(ctx context.Context, sidecars []*sidecar, wanted map[string]bool, wrong *problems) error {
	total := 0
	for _, s := range sidecars {
		total += s.end.Records
	}
	c.spans = make([]video.Span, 0, total)
	keys := make([]idKey, 0, total)
	for file, s := range sidecars {
		err := s.entries(ctx, func(e entry) error {
			used, err := c.judge(s, e, wrong)
			if err != nil || !used {
				return err
			}
			if wanted[string(e.id)] {
				c.where[string(e.id)] = place{file, len(c.spans), e.span}
			}
			keys = append(keys, keyOfID(e.id, len(c.spans)))
			c.spans = append(c.spans, e.span)
			return nil
		})
		if err != nil {
			return err
		}
		c.ends = append(c.ends, len(c.spans))
	}
	repeated := c.markRepeated(keys)
	c.distinct = len(c.spans) - repeated
	if repeated == 0 {
		return nil
	}
	return c.noteRepeated(ctx, sidecars, wrong)
}

// judge notes what is unusual about a record that parses, and says whether it
// is used. A video without title or without frames is: the models know both,
// and the services embed it, too.
func (c *catalogue) judge(s *sidecar, e entry, wrong *problems) (used bool, err error) {
	at := dataProblem{File: s.file.Path(), Record: e.record, Offset: e.span.Offset(), ID: string(e.id)}
	switch {
	case e.frames > 0 && e.frameDim != c.frameDim:
		at.Kind, at.Field = "record of another frame width", "frame_feature"
		at.Expected, at.Found = fmt.Sprintf("frames of %d values as in most videos", c.frameDim), fmt.Sprint(e.frameDim)
		return false, wrong.note(at)
	case e.frames == 0 && !e.title:
		at.Kind, at.Field, at.Found = "record without title and frames", "title, frame_feature", "neither"
	case e.frames == 0:
		at.Kind, at.Field, at.Found = "record without frames", "frame_feature", "none"
	case !e.title:
		at.Kind, at.Field, at.Found = "record without title", "title", "none"
	default:
		return true, nil
	}
	at.Expected, at.Used = "a value", true
	return true, wrong.note(at)
}

// idKey stands for an id: 96 bits of its SHA-256. That two ids of a million
// have the same is as likely as 1 in 10¹⁷.
type idKey struct {
	hash   uint64
	more   uint32
	record uint32
}

func keyOfID(id []byte, record int) idKey {
	sum := sha256.Sum256(id)
	return idKey{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint32(sum[8:]), uint32(record)}
}

// markRepeated fills c.again and returns how many records it marks.
func (c *catalogue) markRepeated(keys []idKey) int {
	slices.SortFunc(keys, func(a, b idKey) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.more, b.more), cmp.Compare(a.record, b.record))
	})
	n := 0
	for i := 1; i < len(keys); i++ {
		if a, b := keys[i-1], keys[i]; a.hash == b.hash && a.more == b.more {
			if c.again == nil {
				c.again = make([]bool, len(c.spans))
			}
			c.again[a.record] = true
			n++
		}
	}
	return n
}

// noteRepeated notes every record that a later one replaces.
func (c *catalogue) noteRepeated(ctx context.Context, sidecars []*sidecar, wrong *problems) error {
	for file, s := range sidecars {
		from, to := 0, c.ends[file]
		if file > 0 {
			from = c.ends[file-1]
		}
		err := s.entries(ctx, func(e entry) error {
			// The entries of a file are in the order of its spans, which lack
			// those that are not used.
			if from == to || c.spans[from] != e.span {
				return nil
			}
			from++
			if !c.again[from-1] {
				return nil
			}
			return wrong.note(dataProblem{
				Kind: "record repeats an id", File: s.file.Path(), Record: e.record, Offset: e.span.Offset(), ID: string(e.id),
				Field: "id", Expected: "every id once", Found: "a later record with the same, which counts",
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keep drops all records but those that keep is true for and that no later one
// replaces. The others have new numbers then.
func (c *catalogue) keep(keep func(file, record int) bool) {
	n, from := 0, 0
	for file, to := range c.ends {
		for record := from; record < to; record++ {
			if (c.again == nil || !c.again[record]) && keep(file, record) {
				c.spans[n] = c.spans[record]
				n++
			}
		}
		from, c.ends[file] = to, n
	}
	c.spans, c.again = slices.Clip(c.spans[:n]), nil
}

// read returns the videos of ids, which must be among those asked for.
func (c *catalogue) read(ids []string) ([]video.Video, error) {
	out := make([]video.Video, len(ids))
	for i, id := range ids {
		p, ok := c.where[id]
		if !ok {
			return nil, errs.New(errs.NotFound, "video %q has no usable record", id)
		}
		v, err := c.files[p.file].Video(p.span)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// at reads a record by its number.
func (c *catalogue) at(record int) (video.Video, error) {
	return c.files[sort.SearchInts(c.ends, record+1)].Video(c.spans[record])
}

// Close closes all files.
func (c *catalogue) Close() error {
	var failed []error
	for _, f := range c.files {
		failed = append(failed, f.Close())
	}
	return errors.Join(failed...)
}
