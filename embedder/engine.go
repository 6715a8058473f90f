package embedder

import (
	"context"
	"fmt"
	"strings"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/model"
	"videosim/shared/text"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// ensemble is the Model that serves: both models of a bundle on one engine.
type ensemble struct {
	engine *torch.Engine
	model  *model.Ensemble
}

// close frees the weights and ends the engine.
func (e *ensemble) close() {
	e.model.Close()
	e.engine.Close()
}

// Packs is true on a CPU: see model.Ensemble.Embed.
func (e *ensemble) Packs() bool { return e.engine.Device() == torch.CPU }

// Embed hops to the engine's thread once.
func (e *ensemble) Embed(ctx context.Context, b *video.Batch) (halves model.Halves, err error) {
	err = e.engine.Do(ctx, func(s *torch.Scope) error {
		halves, err = e.model.Embed(s, b)
		return err
	})
	return halves, err
}

// openModel starts the engine and loads the bundle into it. The caller closes
// both.
func openModel(cfg Config, b *bundle.Bundle) (*ensemble, error) {
	engine, err := torch.Start(torch.EngineConfig{Device: cfg.Device, Threads: cfg.Threads, Precision: cfg.Precision})
	if err != nil {
		return nil, fmt.Errorf("start the tensor engine: %w", err)
	}
	m, err := model.Open(engine, b)
	if err != nil {
		engine.Close()
		return nil, fmt.Errorf("load bundle %s: %w", cfg.Bundle, err)
	}
	return &ensemble{engine: engine, model: m}, nil
}

// openCollator makes the collator that the bundle's models were trained with.
func openCollator(b *bundle.Bundle) (*video.Collator, error) {
	cfg, err := model.ParseConfig(b.Config)
	if err != nil {
		return nil, err
	}
	vocab, err := b.Vocab()
	if err != nil {
		return nil, err
	}
	tokenizer, err := text.New(vocab, cfg.TextOptions())
	if err != nil {
		return nil, fmt.Errorf("read the vocabulary: %w", err)
	}
	shape := cfg.Collate(true)
	if err := shape.Validate(); err != nil {
		return nil, err
	}
	return video.NewCollator(tokenizer, shape), nil
}

// fullLength is a video that fills every token and frame of the models.
func fullLength(shape video.CollateConfig) video.Video {
	return video.Video{
		ID:    "canary",
		Title: strings.Repeat("视", shape.LateTokens+shape.EarlyTokens),
		Frames: video.Frames{
			Encoding: video.F16, Dim: shape.FrameDim, Count: shape.Frames,
			Data: make([]byte, 2*shape.FrameDim*shape.Frames), // all zero
		},
	}
}

// warmUp runs the smallest and the largest batch once, so that no video pays
// for memory and kernels that are set up on first use, and memory that does
// not suffice is found before readiness. A largest batch that the device
// refuses is no reason not to start: the batcher halves it.
func warmUp(ctx context.Context, h *health, l limits) error {
	if err := h.probe(ctx); err != nil {
		return fmt.Errorf("embed one video to warm up: %w", err)
	}
	n := max(1, min(l.videos, l.positions/positions(h.canary)))
	rows := make([]*video.Batch, n)
	for i := range rows {
		rows[i] = h.canary
	}
	if _, err := h.model.Embed(ctx, mergeRows(rows)); err != nil && errs.KindOf(err) != errs.Internal {
		return fmt.Errorf("embed %d videos to warm up: %w", n, err)
	}
	return nil
}
