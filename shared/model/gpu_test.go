package model

import (
	"path/filepath"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// With a GPU, its embeddings are the CPU's, staged or not; without, the start says so.
func TestGPUEmbedsLikeTheCPU(t *testing.T) {
	e, err := torch.Start(torch.EngineConfig{Device: "cuda"})
	if err != nil {
		if errs.KindOf(err) != errs.Unavailable {
			t.Errorf("%v of kind %s, want Unavailable", err, errs.KindOf(err))
		}
		return
	}
	defer e.Close()
	for _, attend := range []bool{false, true} {
		cfg := preset(t, "tiny")
		cfg.AttendPaddingFrames = attend
		b := collate(t, collator(t, cfg, true), videos(cfg, 40, video.F16)...)
		dir := filepath.Join(t.TempDir(), "bundle")
		want := writeBundle(t, dir, cfg, b)
		opened, err := bundle.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Open(e, opened)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 { // all but the first find what the one before has staged
			err := e.Do(t.Context(), func(s *torch.Scope) error {
				var h Halves
				torch.NoGrad(func() { h = m.embed(s, b, func() *video.Batch { return b }) })
				sameHalves(t, "on the GPU", h, want, 1e-3)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		m.Close()
	}
}
