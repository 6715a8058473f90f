package trainer

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"videosim/shared/text"
	"videosim/shared/video"
)

// heapNow is how much this process has ever allocated.
func heapNow() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func allocatedSince(before uint64) uint64 { return heapNow() - before }

// liveHeap is what is in use after a collection.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// epochOver loads and collates every pretraining video of c once, in shuffled
// order, and calls step after every batch.
func epochOver(tb testing.TB, c *corpus, workers int, step func(batch int)) (videos int, waited float64) {
	tb.Helper()
	tok, err := text.New(text.ChineseVocab(), text.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	collator := video.NewCollator(tok, video.CollateConfig{LateTokens: 64, EarlyTokens: 32, Frames: 32, FrameDim: c.frameDim, PadToLongest: true})
	l := loader[*video.Batch]{workers: workers, ahead: workers + 1, load: func(items []int) (*video.Batch, error) {
		videos, err := c.pretrainVideos(items)
		if err != nil {
			return nil, err
		}
		return collator.Collate(videos)
	}}
	err = l.each(context.Background(), shuffled(c.pretrainCount(), 128, 1, 1), 0, func(i int, _ []int, b *video.Batch) error {
		videos += b.Len()
		step(i)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return videos, l.waitShare()
}

// Ten times the videos take some bytes more for each, and no more: what is in
// use while an epoch is loaded hardly depends on the corpus.
func TestMemoryDoesNotGrowWithTheCorpus(t *testing.T) {
	use := func(videos int) (most int64) {
		d := newDataDir(t)
		for i := range videos {
			d.pointwise = video.AppendRecord(d.pointwise, d.payload(video.Video{ID: fmt.Sprint("video-number-", i), Title: "a title of some words", Frames: testFrames(4)}))
		}
		d.write()
		d.pointwise = nil
		before := liveHeap()
		c, err := openCorpus(context.Background(), d.config(false))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.pretrainCount() < videos {
			t.Fatalf("%d videos of %d", c.pretrainCount(), videos)
		}
		every := (videos/128 + 7) / 8
		epochOver(t, c, 2, func(i int) {
			if i%every == 0 {
				most = max(most, liveHeap()-before)
			}
		})
		return most
	}
	const few, many = 2_000, 20_000
	small, large := use(few), use(many)
	// Eight bytes a record, twice that for what is between two collections.
	if allowed := small + 16*(many-few) + 4<<20; large > allowed {
		t.Errorf("%d bytes in use with %d videos, %d with %d: want at most %d", small, few, large, many, allowed)
	}
	t.Logf("%d videos: %d kB, %d videos: %d kB", few, small>>10, many, large>>10)
}

// BenchmarkLoadAndCollate is what one goroutine of the loader gives at the
// challenge's sizes, and what the first and every other start costs a video.
func BenchmarkLoadAndCollate(b *testing.B) {
	cfg, err := video.SynthPreset("base", 1500, 100, 1)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir() + "/corpus"
	if err := video.Synthesize(dir, cfg, nil); err != nil {
		b.Fatal(err)
	}
	train := TrainConfig{Data: dir, Preset: "tiny", HeldOut: 0.1, Seed: 1}.withPreset()
	open := func() *corpus {
		c, err := openCorpus(context.Background(), train)
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	rate := func(b *testing.B, videos int) {
		b.ReportMetric(float64(videos)*float64(b.N)/b.Elapsed().Seconds(), "videos/s")
	}
	b.Run("first start", func(b *testing.B) {
		for b.Loop() {
			train.Work = b.TempDir()
			open().Close()
		}
		rate(b, cfg.Videos)
	})
	b.Run("next start", func(b *testing.B) {
		for b.Loop() {
			open().Close()
		}
		rate(b, cfg.Videos)
	})
	b.Run("epoch", func(b *testing.B) {
		c := open()
		defer c.Close()
		n := 0
		for b.Loop() {
			n, _ = epochOver(b, c, 1, func(int) {})
		}
		rate(b, n)
	})
}
