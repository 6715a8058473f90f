package model

import (
	"slices"
	"testing"

	"videosim/shared/torch"
	"videosim/shared/video"
)

// A batch that was brought to the device beside another gets the embeddings that it
// gets alone, whatever is embedded in between. The way is a GPU's; here it runs on the CPU.
func TestStagedBatchIsTheSame(t *testing.T) {
	cfg := preset(t, "tiny")
	all := videos(cfg, 9, video.F16)
	before := torch.LiveTensors()
	onEngine(t, func(s *torch.Scope) {
		m := newEnsemble(s, cfg)
		m.to.spread = true
		c := collator(t, cfg, true)
		first, second, query := collate(t, c, all[:4]...), collate(t, c, all[4:]...), collate(t, c, all[2])
		wantFirst, wantSecond, wantQuery := embed(t, s, m, first), embed(t, s, m, second), embed(t, s, m, query)
		ahead := func(b *video.Batch, next func() *video.Batch) (h Halves) {
			inner := torch.NewScope() // as each call of the engine has one
			defer inner.Close()
			h, err := m.EmbedMeanwhile(inner, b, Meanwhile{Next: next})
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		one := func(b *video.Batch) func() *video.Batch { return func() *video.Batch { return b } }

		sameHalves(t, "while the next is staged", ahead(first, one(second)), wantFirst, 0)
		if m.staged == nil || m.staged.batch != second {
			t.Fatal("the next batch is not on the device")
		}
		sameHalves(t, "a query in between", ahead(query, nil), wantQuery, 0)
		sameHalves(t, "nothing new to stage", ahead(first, one(nil)), wantFirst, 0)
		if m.staged == nil || m.staged.batch != second {
			t.Fatal("others have taken the staged batch's place")
		}
		clear(second.Half) // the device has a copy
		sameHalves(t, "staged", ahead(second, one(first)), wantSecond, 0)
		sameHalves(t, "what is staged and replaced", ahead(query, one(query)), wantQuery, 0)

		broken := *first // fails when it is copied, as where memory is short
		broken.FrameCount = slices.Repeat([]int{broken.FrameLen}, broken.Len())
		broken.FrameDim--
		sameHalves(t, "beside a batch that cannot be staged", ahead(query, one(&broken)), wantQuery, 0)
		if m.staged != nil {
			t.Error("a batch that could not be copied counts as staged")
		}
		if _, err := m.EmbedMeanwhile(s, first, Meanwhile{Next: one(first)}); err != nil {
			t.Fatal(err)
		}
		m.Close() // one is staged still
	})
	if after := torch.LiveTensors(); after != before {
		t.Errorf("%d tensors live after, %d before", after, before)
	}
}

func TestCPUNeverStages(t *testing.T) {
	cfg := preset(t, "tiny")
	onEngine(t, func(s *torch.Scope) {
		m := newEnsemble(s, cfg)
		defer m.Close()
		b := collate(t, collator(t, cfg, true), videos(cfg, 2, video.F16)...)
		_, err := m.EmbedMeanwhile(s, b, Meanwhile{Next: func() *video.Batch {
			t.Error("asked for the next batch, which only shares the CPU's cores")
			return nil
		}})
		if err != nil {
			t.Error(err)
		}
	})
}

// A batch that stands aside for others between its layers gets the same embeddings,
// and so do they; a failure among them is theirs alone.
func TestBatchesBetweenLayers(t *testing.T) {
	cfg := preset(t, "tiny")
	all := videos(cfg, 9, video.F16)
	before := torch.LiveTensors()
	onEngine(t, func(s *torch.Scope) {
		m := newEnsemble(s, cfg)
		defer m.Close()
		c := collator(t, cfg, true)
		large, query := collate(t, c, all[:6]...), collate(t, c, all[6:]...)
		wantLarge, wantQuery := embed(t, s, m, large), embed(t, s, m, query)
		broken := *query
		broken.Late.IDs = slices.Clone(query.Late.IDs)
		broken.Late.IDs[0] = int64(cfg.Text.Vocab)
		calls := 0
		inner := torch.NewScope()
		defer inner.Close()
		got, err := m.EmbedMeanwhile(inner, large, Meanwhile{Between: func(done, total int, embed func(*video.Batch) (Halves, error)) {
			if calls++; done != calls || total != 2+2+2+2 {
				t.Errorf("call %d: %d of %d layers, want 8", calls, done, total)
			}
			h, err := embed(query)
			if err != nil {
				t.Fatal(err)
			}
			sameHalves(t, "between layers", h, wantQuery, 0)
			if _, err := embed(&broken); err == nil {
				t.Error("a broken batch was embedded")
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		sameHalves(t, "aside for others", got, wantLarge, 0)
		if calls != 8 {
			t.Errorf("%d calls, want one a layer", calls)
		}
	})
	if after := torch.LiveTensors(); after != before {
		t.Errorf("%d tensors live after, %d before", after, before)
	}
}
