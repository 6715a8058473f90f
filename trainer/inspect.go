package trainer

import (
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
	folder, err := video.OpenFolder(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	fmt.Fprintf(w, "pointwise\t%d videos\n", folder.Pointwise.Len())
	fmt.Fprintf(w, "pairwise\t%d videos\n", folder.Pairwise.Len())
	if folder.LabelsPath != "" {
		pairs, err := readPairs(folder.LabelsPath)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "label.tsv\t%d pairs of %d videos\n", len(pairs), len(pairIDs(pairs)))
	}
	if folder.Tags != nil {
		fmt.Fprintf(w, "tag_list.txt\t%d tags\n", folder.Tags.Len())
	}
	return nil
}

// shownRecords is how many records of a file are shown one by one.
const shownRecords = 10

func inspectRecords(w io.Writer, path string) error {
	set, err := video.OpenSet(path)
	if err != nil {
		return err
	}
	defer set.Close()
	fmt.Fprintf(w, "%d records\n", set.Len())
	fmt.Fprintln(w, "id\tframes\ttags\tcategory\ttitle\tspeech")
	var frames []int
	for i := range set.Len() {
		v, err := set.Video(i)
		if err != nil {
			return err
		}
		frames = append(frames, v.Frames.Count)
		if i < shownRecords {
			fmt.Fprintf(w, "%s\t%d × %d\t%d\t%d\t%s\t%s\n", v.ID, v.Frames.Count, v.Frames.Dim, len(v.TagIDs), v.CategoryID, shorten(v.Title, 24), shorten(v.ASRText, 16))
		}
	}
	if len(frames) > 0 {
		slices.Sort(frames)
		fmt.Fprintf(w, "frames a video: least %d, median %d, most %d\n", frames[0], frames[len(frames)/2], frames[len(frames)-1])
	}
	return nil
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
