package model

import (
	"fmt"
	"slices"
	"testing"

	"videosim/shared/torch"
	"videosim/shared/video"
)

// What is served without padding is what Forward computes with it, whether attention
// takes each video apart, as on a CPU, or all in one call, as on a GPU.
func TestPackedIsPadded(t *testing.T) {
	for _, attend := range []bool{false, true} {
		cfg := preset(t, "tiny")
		cfg.AttendPaddingFrames = attend
		all := videos(cfg, 14, video.F16)
		all[5].Frames = video.Frames{} // two videos without frames make a run of two
		onEngine(t, func(s *torch.Scope) {
			m := newEnsemble(s, cfg)
			defer m.Close()
			for _, of := range [][]video.Video{all, all[1:2], all[:1], all[5:6], {all[5], all[5]}} {
				for _, longest := range []bool{false, true} {
					b := collate(t, collator(t, cfg, longest), of...)
					padded := embedPadded(s, m, b)
					for _, spread := range []bool{false, true} {
						m.to.spread = spread
						name := fmt.Sprintf("%d videos, padding attended %v, to the longest %v, in one call %v", len(of), attend, longest, spread)
						sameHalves(t, name, embed(t, s, m, b), padded, gate)
					}
				}
			}
		})
	}
}

// embedPadded is what training computes.
func embedPadded(s *torch.Scope, m *Ensemble, b *video.Batch) (h Halves) {
	torch.NoGrad(func() {
		in := NewInputs(s, b, torch.CPU, torch.Float32)
		h = Halves{Late: rows(m.Late.Forward(s, in).Embedding), Early: rows(m.Early.Forward(s, in).Embedding)}
	})
	return h
}

// The widths of the full-size models take other kernels than those of tiny.
func TestPlaceChangesNoBitAtFullWidth(t *testing.T) {
	cfg := preset(t, "base")
	cfg.Text.Layers, cfg.Video.Depth, cfg.Cross.Layers, cfg.Text.Vocab, cfg.Tags = 1, 1, 1, 1000, 2
	all := videos(cfg, 7, video.F16)
	onEngine(t, func(s *torch.Scope) {
		m := newEnsemble(s, cfg)
		defer m.Close()
		b := collate(t, collator(t, cfg, true), all...)
		clampTokens(b, 1000)
		want := embed(t, s, m, b)
		for _, turn := range []int{1, 3, 6} {
			b := collate(t, collator(t, cfg, true), append(slices.Clone(all[turn:]), all[:turn]...)...)
			clampTokens(b, 1000)
			got := embed(t, s, m, b)
			for i := range all {
				j := (i + len(all) - turn) % len(all)
				if !slices.Equal(got.Late[j], want.Late[i]) || !slices.Equal(got.Early[j], want.Early[i]) {
					t.Errorf("video %d at place %d differs from itself at place %d", i, j, i)
				}
			}
		}
	})
}

// clampTokens maps tokens into a smaller vocabulary.
func clampTokens(b *video.Batch, vocab int64) {
	for _, ids := range [][]int64{b.Late.IDs, b.Early.IDs} {
		for i := range ids {
			ids[i] %= vocab
		}
	}
}
