package trainer

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"videosim/shared/bundle"
	"videosim/shared/bundle/checkpoint"
	"videosim/shared/errs"
	"videosim/shared/video"
)

// Inspect writes what a person wants to know about path, which is a TFRecord
// file, a checkpoint (safetensors or torch.save's), a bundle or a data folder. Every record of
// a TFRecord file is read, so a damaged one is found.
func Inspect(w io.Writer, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return errs.New(errs.NotFound, "inspect: %w", err)
	}
	out := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	switch {
	case info.IsDir() && exists(filepath.Join(path, "manifest.json")):
		err = inspectBundle(out, path)
	case info.IsDir():
		err = inspectFolder(out, path)
	case slices.Contains([]string{".safetensors", ".pt", ".pth", ".bin"}, filepath.Ext(path)):
		err = inspectCheckpoint(out, path)
	case strings.HasSuffix(path, ".tfrecords"), strings.HasSuffix(path, ".tfrecord"):
		err = inspectRecords(out, path)
	default:
		return errs.New(errs.Invalid, "inspect %s: expected a .tfrecords, .safetensors, .pt, .pth or .bin file, a bundle or a data folder", path)
	}
	if flushErr := out.Flush(); err == nil {
		err = flushErr
	}
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func inspectBundle(w io.Writer, dir string) error {
	b, err := bundle.Open(dir)
	if err != nil {
		return err
	}
	m := b.Manifest
	fmt.Fprintf(w, "bundle\t%s\n", m.Fingerprint)
	fmt.Fprintf(w, "created\t%s\n", m.CreatedAt.Format("2006-01-02 15:04:05 MST"))
	fmt.Fprintf(w, "preset\t%s\n", m.Preset)
	fmt.Fprintf(w, "embedding\t%d numbers\n", m.EmbeddingDim)
	fmt.Fprintf(w, "frames\t%d numbers each\n", m.FrameDim)
	fmt.Fprintf(w, "trained on\t%s\n", m.DataDigest)
	fmt.Fprintf(w, "calibration\t%d knots\n", len(m.Calibration.Cosines))
	for _, name := range sortedKeys(m.Metrics) {
		fmt.Fprintf(w, "%s\t%.6g\n", name, m.Metrics[name])
	}
	for _, name := range []string{bundle.Late, bundle.Early} {
		weights, err := b.Tensors(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s model\t%d tensors\t%d values\n", name, len(weights.All()), values(weights.All()))
		if err := weights.Close(); err != nil {
			return err
		}
	}
	return nil
}

func inspectCheckpoint(w io.Writer, path string) error {
	f, err := checkpoint.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintf(w, "%d tensors\t\t%d values\n", len(f.Tensors), values(f.Tensors))
	for _, t := range f.Tensors {
		fmt.Fprintf(w, "%s\t%s\t%v\n", t.Name, t.DType, t.Shape)
	}
	return nil
}

func values(tensors []bundle.NamedTensor) int64 {
	total := int64(0)
	for _, t := range tensors {
		n := int64(1)
		for _, d := range t.Shape {
			n *= d
		}
		total += n
	}
	return total
}

func inspectFolder(w io.Writer, dir string) error {
	l, err := video.ListFolder(dir)
	if err != nil {
		return err
	}
	var wrong problems
	for _, part := range []struct {
		name  string
		paths []string
	}{{"pointwise", l.Pointwise}, {"pairwise", l.Pairwise}} {
		videos := 0
		for _, path := range part.paths {
			if err := scanFile(path, &wrong, func(*video.RecordFile, video.Scanned) error { videos++; return nil }); err != nil {
				return err
			}
		}
		fmt.Fprintf(w, "%s\t%d videos\n", part.name, videos)
	}
	if l.LabelsPath != "" {
		pairs, err := readLabels(l.LabelsPath, &wrong)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "label.tsv\t%d pairs of %d videos\n", len(pairs), len(idsOf(pairs)))
	}
	if l.TagsPath != "" {
		tags, err := readTags(l.TagsPath, &wrong)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "tag_list.txt\t%d tags\n", tags.Len())
	}
	return listProblems(w, &wrong)
}

// scanFile calls use for every usable record of a file and notes the others.
func scanFile(path string, wrong *problems, use func(*video.RecordFile, video.Scanned) error) error {
	f, err := video.OpenRecords(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Scan(context.Background(), func(s video.Scanned) error {
		if s.Err != nil {
			return wrong.note(recordProblem(s))
		}
		return use(f, s)
	})
}

// listProblems ends an inspection: with the list, and the first problem as its
// error, so that a script sees it, too.
func listProblems(w io.Writer, wrong *problems) error {
	if wrong.count() == 0 {
		return nil
	}
	if err := wrong.show(w, ""); err != nil {
		return err
	}
	return wrong.tallies[0].Listed[0].fault()
}

// shownRecords is how many records of a file are shown one by one.
const shownRecords = 10

func inspectRecords(w io.Writer, path string) error {
	var wrong problems
	var frames []int
	fmt.Fprintln(w, "id\tframes\ttags\tcategory\ttitle\tspeech")
	err := scanFile(path, &wrong, func(f *video.RecordFile, s video.Scanned) error {
		if frames = append(frames, s.Outline.Frames); len(frames) > shownRecords {
			return nil
		}
		v, err := f.Video(s.Span)
		if err == nil {
			fmt.Fprintf(w, "%s\t%d × %d\t%d\t%d\t%s\t%s\n", v.ID, v.Frames.Count, v.Frames.Dim, len(v.TagIDs), v.CategoryID, shorten(v.Title, 24), shorten(v.ASRText, 16))
		}
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d records\n", len(frames))
	if len(frames) > 0 {
		slices.Sort(frames)
		fmt.Fprintf(w, "frames a video: least %d, median %d, most %d\n", frames[0], frames[len(frames)/2], frames[len(frames)-1])
	}
	return listProblems(w, &wrong)
}

// shorten cuts text to n characters on one line.
func shorten(text string, n int) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > n {
		return string(runes[:n]) + "…"
	}
	return string(runes)
}

func sortedKeys(m map[string]float64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
