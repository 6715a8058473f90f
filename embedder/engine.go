package embedder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"videosim/shared/bundle"
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

// Packs is true on a CPU.
func (e *ensemble) Packs() bool { return e.model.Packs() }

// Embed hops to the engine's thread once. The functions of while are called there.
func (e *ensemble) Embed(ctx context.Context, b *video.Batch, while model.Meanwhile) (halves model.Halves, err error) {
	err = e.engine.Do(ctx, func(s *torch.Scope) error {
		halves, err = e.model.EmbedMeanwhile(s, b, while)
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

// warmUpTime bounds the warm-up of a device that pads, but for the batch in hand. What
// it leaves out is set up by the first videos that need it.
const warmUpTime = time.Minute

// warmUp runs what batches can look like once, so that no video pays for memory and
// kernels that are set up on first use, and memory that does not suffice is found
// before readiness: one video and the largest batch, and on a device that pads both
// for every bucket. Batches for which there is no memory are no reason not to start:
// the batcher halves them. row is a video that fits into any bucket.
func warmUp(ctx context.Context, h *health, l limits, row *video.Batch, log *slog.Logger) error {
	if err := h.probe(ctx); err != nil {
		return fmt.Errorf("embed one video to warm up: %w", err)
	}
	start, ran, refused := time.Now(), 0, 0
	for _, b := range warmUpBatches(h.canary, l, row) {
		if time.Since(start) > warmUpTime {
			break
		}
		_, err := h.model.Embed(ctx, b(), model.Meanwhile{})
		var failure *torch.Error
		if errors.As(err, &failure) && failure.OutOfMemory() {
			refused++
		} else if err != nil {
			return fmt.Errorf("embed a batch to warm up: %w", err)
		}
		ran++
	}
	log.Info("warmed up", "batches", ran, "refused", refused, "took", time.Since(start))
	return nil
}

// warmUpBatches makes the batches after the canary, the largest first: memory that it
// took serves the smaller ones.
func warmUpBatches(canary *video.Batch, l limits, row *video.Batch) (batches []func() *video.Batch) {
	add := func(row *video.Batch, n int, to lengths) {
		batches = append(batches, func() *video.Batch { return mergeRows(slices.Repeat([]*video.Batch{row}, n), to) })
	}
	if l.packed { // the rows must be as long as they look
		add(canary, l.most(lengthsOf(canary)), lengthsOf(canary))
		return batches
	}
	for _, to := range l.shapes() {
		add(row, l.most(to), to)
		add(row, 1, to)
	}
	return batches
}
