package video

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"videosim/shared/errs"
)

// Pointwise videos a file; the challenge had 50,000 in each of twenty.
const pointwisePerFile = 50_000

// Synthesize writes a corpus into dir, in the challenge's form: the judged
// videos in pairwise/, the others in pointwise/, label.tsv, tag_list.txt. Nearly all
// of both have tags, so pretraining may use both; with about as many
// pairs as videos nearly all are in pairwise/.
//
// dir must be empty or not exist. It appears whole or not at all. progress,
// which may be nil, is told how many videos are written, from one goroutine.
func Synthesize(dir string, cfg SynthConfig, progress func(done, total int)) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return errs.Field("out", "folder %s is not empty", dir)
	}
	w, err := newWorld(cfg)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
		return err
	}
	draft, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), ".synth-")
	if err != nil {
		return err
	}
	s := &synthesis{cfg: cfg, world: w, plan: newPlan(cfg, w), dir: draft, progress: progress}
	if err := s.write(); err != nil {
		return errors.Join(fmt.Errorf("write corpus %s: %w", dir, err), os.RemoveAll(draft))
	}
	if err := os.Chmod(draft, 0o755); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(draft, dir)
}

type synthesis struct {
	cfg      SynthConfig
	world    *world
	plan     *plan
	dir      string
	progress func(done, total int)
	done     int
}

func (s *synthesis) write() error {
	order := random(s.cfg.Seed, streamPlan+1<<40).Perm(s.plan.pairwise)
	if err := s.videos("pairwise/pairwise.tfrecords", order); err != nil {
		return err
	}
	for from := s.plan.pairwise; from < s.cfg.Videos; from += pointwisePerFile {
		var part []int
		for i := from; i < min(from+pointwisePerFile, s.cfg.Videos); i++ {
			part = append(part, i)
		}
		name := fmt.Sprintf("pointwise/pretrain_%d.tfrecords", (from-s.plan.pairwise)/pointwisePerFile)
		if err := s.videos(name, part); err != nil {
			return err
		}
	}
	if err := s.file("label.tsv", s.labels); err != nil {
		return err
	}
	return s.file("tag_list.txt", func(w io.Writer) error {
		for _, id := range s.world.tagIDs {
			if _, err := fmt.Fprintln(w, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *synthesis) labels(w io.Writer) error {
	for _, p := range s.plan.pairs {
		label := strconv.FormatFloat(p.label, 'f', -1, 64)
		if !strings.Contains(label, ".") {
			label += ".0"
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\t%s\n", s.plan.ids[p.a], s.plan.ids[p.b], label); err != nil {
			return err
		}
	}
	return nil
}

// videos renders on all cores, a block at a time, and writes in order.
func (s *synthesis) videos(name string, which []int) error {
	if len(which) == 0 {
		return nil
	}
	return s.file(name, func(out io.Writer) error {
		workers := runtime.GOMAXPROCS(0)
		block := make([][]byte, 16*workers)
		for len(which) > 0 {
			n := min(len(block), len(which))
			var g errgroup.Group
			g.SetLimit(workers)
			for i, video := range which[:n] {
				g.Go(func() error {
					payload, err := AppendExample(nil, s.world.render(s.cfg, s.plan, video))
					block[i] = AppendRecord(block[i][:0], payload)
					return err
				})
			}
			if err := g.Wait(); err != nil {
				return err
			}
			for _, record := range block[:n] {
				if _, err := out.Write(record); err != nil {
					return err
				}
			}
			which = which[n:]
			s.report(n)
		}
		return nil
	})
}

func (s *synthesis) report(n int) {
	s.done += n
	if s.progress != nil {
		s.progress(s.done, s.cfg.Videos)
	}
}

func (s *synthesis) file(name string, write func(io.Writer) error) error {
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(write(buffered), buffered.Flush(), f.Close())
}
