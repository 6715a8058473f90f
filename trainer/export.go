package trainer

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/video"
)

// ExportConfig says what becomes a submission to the challenge.
type ExportConfig struct {
	Bundle string       `name:"bundle" required:"" type:"path" help:"Bundle whose models embed the videos."`
	Data   []string     `name:"data" required:"" type:"path" help:"TFRecord files, in the order of the result; may be repeated."`
	Out    string       `name:"out" required:"" type:"path" help:"File to write: .json, or .zip as the challenge takes it."`
	Engine EngineConfig `embed:""`
}

// zipPath is where the challenge's scorer looks inside the archive.
const zipPath = "result/result.json"

// Validate checks the config before any work is done.
func (c ExportConfig) Validate() error {
	ext := filepath.Ext(c.Out)
	switch {
	case c.Bundle == "":
		return errs.Field("bundle", "expected a bundle folder, found none")
	case len(c.Data) == 0:
		return errs.Field("data", "expected TFRecord files, found none")
	case ext != ".json" && ext != ".zip":
		return errs.Field("out", "expected a name that ends in .json or .zip, found %q", c.Out)
	}
	return nil
}

// Export embeds every video of the files and writes the challenge's result:
// an object id → embedding, each number rounded to half precision. It returns
// the number of videos.
func Export(ctx context.Context, cfg ExportConfig) (int, error) {
	if err := cfg.Validate(); err != nil {
		return 0, err
	}
	e, err := openEmbedder(cfg.Bundle, cfg.Engine)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	r, err := embedFiles(ctx, e, cfg.Data)
	if err != nil {
		return 0, err
	}
	fused, err := eval.FuseHalves(r.late, r.early)
	if err != nil {
		return 0, err
	}
	write := func(w io.Writer) error { return eval.WriteResult(w, r.ids, fused) }
	if strings.HasSuffix(cfg.Out, ".zip") {
		return len(r.ids), writeFile(cfg.Out, func(w io.Writer) error { return writeZip(w, write) })
	}
	return len(r.ids), writeFile(cfg.Out, write)
}

// halfRows are the outputs of both models, a row a video, in half precision.
type halfRows struct {
	ids         []string
	late, early [][]float64
}

func embedFiles(ctx context.Context, e *embedder, paths []string) (halfRows, error) {
	var r halfRows
	set, err := video.OpenSet(paths...)
	if err != nil {
		return r, err
	}
	defer set.Close()
	err = e.each(ctx, set.Len(), set.Video, func(ids []string, h model.Halves) error {
		late, err := eval.HalfRows(h.Late)
		if err != nil {
			return fmt.Errorf("late model: %w", err)
		}
		early, err := eval.HalfRows(h.Early)
		if err != nil {
			return fmt.Errorf("early model: %w", err)
		}
		r.ids, r.late, r.early = append(r.ids, ids...), append(r.late, late...), append(r.early, early...)
		return nil
	})
	return r, err
}

// writeFile writes path through a temporary file beside it, so that a failure
// leaves no half of a result.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is left of it once it is renamed
	if err := errors.Join(write(f), f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// bytesOf writes data, for writeFile.
func bytesOf(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func writeZip(w io.Writer, write func(io.Writer) error) error {
	z := zip.NewWriter(w)
	// A fixed time, the first that the format has: equal results are equal files.
	entry, err := z.CreateHeader(&zip.FileHeader{Name: zipPath, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		return err
	}
	if err := write(entry); err != nil {
		return err
	}
	return z.Close()
}
