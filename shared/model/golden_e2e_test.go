package model

import (
	"path/filepath"
	"testing"

	"videosim/shared/testkit"
	"videosim/shared/text"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// goldenVideos reads the records that the reference's inference scripts read.
func goldenVideos(t *testing.T) []video.Video {
	t.Helper()
	set, err := video.OpenSet(filepath.Join(testkit.GoldenDir(t), "e2e", "e2e.tfrecords"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	videos := make([]video.Video, set.Len())
	for i := range videos {
		if videos[i], err = set.Video(i); err != nil {
			t.Fatal(err)
		}
	}
	return videos
}

func goldenCollator(t *testing.T, cfg Config, padToLongest bool) *video.Collator {
	t.Helper()
	tok, err := text.New(testkit.GoldenFile(t, "vocab.txt"), cfg.TextOptions())
	if err != nil {
		t.Fatal(err)
	}
	return video.NewCollator(tok, cfg.Collate(padToLongest))
}

func collate(t *testing.T, c *video.Collator, videos ...video.Video) *video.Batch {
	t.Helper()
	b, err := c.Collate(videos)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenEnsemble loads both networks of the end-to-end fixture into s.
func goldenEnsemble(t *testing.T, s *torch.Scope) *Ensemble {
	t.Helper()
	late := golden{t: t, s: s, cfg: goldenConfig(t, "e2e/simnet13.safetensors"), all: testkit.Fixture(t, "e2e/simnet13.safetensors")}
	early := golden{t: t, s: s, cfg: goldenConfig(t, "e2e/multibert_simnet.safetensors"), all: testkit.Fixture(t, "e2e/multibert_simnet.safetensors")}
	m := NewEnsemble(late.cfg, NewLate(late.cfg, late.params()), NewEarlyFinetuned(early.cfg, early.params()))
	late.load(m.Late.Params())
	early.load(m.Early.Params())
	return m
}

// From a TFRecord file to both halves, with the padding of the reference, with
// as little padding as possible, and one video at a time.
func TestGoldenEndToEnd(t *testing.T) {
	expected := testkit.Fixture(t, "e2e/expected.safetensors")
	check := func(name string, got [][]float32, tensor string) {
		t.Helper()
		var flat []float32
		for _, row := range got {
			flat = append(flat, row...)
		}
		testkit.Close(t, name+" "+tensor, flat, expected.Of(t, tensor).Float32s(), gate)
	}
	onEngine(t, func(s *torch.Scope) {
		m := goldenEnsemble(t, s)
		defer m.Close()
		videos := goldenVideos(t)
		for _, padToLongest := range []bool{false, true} {
			c := goldenCollator(t, m.Config, padToLongest)
			name := map[bool]string{false: "padded fully", true: "padded to the longest"}[padToLongest]
			h := embed(t, s, m, collate(t, c, videos...))
			check(name, h.Late, "simnet13_embedding")
			check(name, h.Early, "multibert_simnet_embedding")
			var alone Halves
			for _, v := range videos {
				one := embed(t, s, m, collate(t, c, v))
				alone.Late, alone.Early = append(alone.Late, one.Late...), append(alone.Early, one.Early...)
			}
			check(name+", alone", alone.Late, "simnet13_embedding")
			check(name+", alone", alone.Early, "multibert_simnet_embedding")
		}
	})
}

func embed(t *testing.T, s *torch.Scope, m *Ensemble, b *video.Batch) Halves {
	t.Helper()
	h, err := m.Embed(s, b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
