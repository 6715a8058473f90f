// Package tinybundle writes a bundle of both models at preset "tiny" with new,
// untrained weights: the real networks on the real engine, for tests of what
// lies around them. It is apart from testkit because it needs cgo.
package tinybundle

import (
	"context"
	"encoding/json"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/text"
	"videosim/shared/torch"
)

// seed makes two bundles of one build equal, fingerprint included.
const seed = 20211029

// Write makes a bundle in the folder dir and returns its fingerprint.
func Write(t testing.TB, dir string) string { return WriteSeeded(t, dir, seed) }

// WriteSeeded is Write with weights of another seed: another model of the
// same shape.
func WriteSeeded(t testing.TB, dir string, seed uint64) string {
	t.Helper()
	return WritePreset(t, dir, "tiny", seed)
}

// WritePreset is WriteSeeded at another size; "base" takes 1.9 GB of disk and,
// while it is written, of memory.
func WritePreset(t testing.TB, dir, preset string, seed uint64) string {
	t.Helper()
	fingerprint, err := write(dir, preset, seed)
	if err != nil {
		t.Fatalf("write a bundle of preset %s: %v", preset, err)
	}
	return fingerprint
}

func write(dir, preset string, seed uint64) (fingerprint string, err error) {
	cfg, err := model.Preset(preset)
	if err != nil {
		return "", err
	}
	settings, err := json.Marshal(cfg)
	if err != nil {
		return "", err
	}
	engine, err := torch.Start(torch.EngineConfig{Device: "cpu", Seed: seed})
	if err != nil {
		return "", err
	}
	defer engine.Close()
	contents := bundle.Contents{
		Config: settings, Vocab: text.ChineseVocab(),
		Manifest: bundle.Manifest{Preset: preset, EmbeddingDim: cfg.Embedding, FrameDim: cfg.Video.FrameDim},
	}
	err = engine.Do(context.Background(), func(s *torch.Scope) error {
		late, early := nn.NewParams(s, nn.Options{}), nn.NewParams(s, nn.Options{})
		model.NewLate(cfg, late)
		model.NewEarlyFinetuned(cfg, early)
		contents.Late, contents.Early = late.Export(), early.Export()
		return nil
	})
	if err != nil {
		return "", err
	}
	return bundle.Write(dir, contents)
}
