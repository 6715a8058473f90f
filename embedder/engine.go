package embedder

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

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

// Device is where both models are.
func (e *ensemble) Device() torch.Device { return e.engine.Device() }

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

// warmUpTime bounds the warm-up of a GPU, but for the batch in hand. What it leaves
// out is set up by the first videos that need it.
const warmUpTime = time.Minute

// warmUp runs the smallest and the largest batch once, so that no video pays for
// memory and kernels that are set up on first use, and memory that does not suffice
// is found before readiness. A GPU's libraries choose kernels by the number of rows,
// and load each on first use, so it gets all sizes in between, by halves. A batch for
// which there is no memory is no reason not to start: the batcher halves it. Among
// full videos stands a short one, because equal lengths take another kernel.
func warmUp(ctx context.Context, h *health, l limits, short *video.Batch, log *slog.Logger) error {
	if err := h.probe(ctx); outOfMemory(err) && h.model.Device() == torch.CPU {
		return errs.Field("memory-limit", "expected more: it leaves too little to embed one video: %v", err)
	} else if err != nil {
		return fmt.Errorf("embed one video to warm up: %w", err)
	}
	start, refused := time.Now(), 0
	sizes := warmUpSizes(h.model.Device(), max(1, min(l.videos, l.positions/positions(h.canary))))
	for _, n := range sizes {
		if time.Since(start) > warmUpTime {
			log.Warn("the warm-up was cut short", "after", warmUpTime, "batches of videos", sizes)
			break
		}
		rows := slices.Repeat([]*video.Batch{h.canary}, n)
		if n > 1 {
			rows[n-1] = short
		}
		_, err := h.model.Embed(ctx, mergeRows(rows), model.Meanwhile{})
		if outOfMemory(err) {
			refused++
		} else if err != nil {
			return fmt.Errorf("embed %d videos to warm up: %w", n, err)
		}
	}
	log.Info("warmed up", "batches of videos", sizes, "without memory", refused, "took", time.Since(start))
	return nil
}

// warmUpSizes are the numbers of videos in batches, the largest first: memory that it
// took serves the smaller ones.
func warmUpSizes(device torch.Device, most int) []int {
	sizes := []int{most}
	if device != torch.CPU {
		for n := most / 2; n > 0; n /= 2 {
			sizes = append(sizes, n)
		}
	}
	return sizes
}
