package trainer

import (
	"context"
	"fmt"

	"videosim/shared/bundle"
	"videosim/shared/model"
	"videosim/shared/text"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// EngineConfig says on what a command computes.
type EngineConfig struct {
	Device    string `name:"device" enum:"cpu,cuda,auto" default:"auto" help:"Where tensors live."`
	Precision string `name:"precision" enum:"fp32,bf16,int8,auto" default:"fp32" help:"Precision of the networks; int8 multiplies in 8-bit integers, on CPUs with avx512_vnni."`
	Threads   int    `name:"threads" help:"Threads of the tensor engine; 0 takes the cores."`
	Batch     int    `name:"batch" default:"64" help:"Videos that are embedded at once."`
}

// embedder runs the two models of a bundle over videos from files.
type embedder struct {
	engine   *torch.Engine
	ensemble *model.Ensemble
	collator *video.Collator
	batch    int
}

// openEmbedder loads a bundle for inference. Close frees what it holds.
func openEmbedder(dir string, cfg EngineConfig) (*embedder, error) {
	b, err := bundle.Open(dir)
	if err != nil {
		return nil, err
	}
	engine, err := torch.Start(torch.EngineConfig{Device: cfg.Device, Precision: cfg.Precision, Threads: cfg.Threads})
	if err != nil {
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	e := &embedder{engine: engine, batch: max(cfg.Batch, 1)}
	if err := e.load(b); err != nil {
		engine.Close()
		return nil, fmt.Errorf("load bundle %s: %w", dir, err)
	}
	return e, nil
}

func (e *embedder) load(b *bundle.Bundle) error {
	vocab, err := b.Vocab()
	if err != nil {
		return err
	}
	if e.ensemble, err = model.Open(e.engine, b); err != nil {
		return err
	}
	cfg := e.ensemble.Config
	tokenizer, err := text.New(vocab, cfg.TextOptions())
	if err != nil {
		return err
	}
	e.collator = newCollator(tokenizer, cfg)
	return nil
}

// newCollator makes batches of a network's shape, padded to their longest row.
func newCollator(tokenizer *text.Tokenizer, cfg model.Config) *video.Collator {
	return video.NewCollator(tokenizer, cfg.Collate(true))
}

func (e *embedder) Close() {
	e.ensemble.Close()
	e.engine.Close()
}

// each embeds n videos, read by their number, and calls use with the halves of
// one batch after the other, in order.
func (e *embedder) each(ctx context.Context, n int, read func(i int) (video.Video, error), use func(ids []string, h model.Halves) error) error {
	l := loader[*video.Batch]{workers: 1, ahead: 2, load: func(items []int) (*video.Batch, error) {
		videos := make([]video.Video, len(items))
		for i, item := range items {
			v, err := read(item)
			if err != nil {
				return nil, err
			}
			videos[i] = v
		}
		return e.collator.Collate(videos)
	}}
	return l.each(ctx, inOrder(n, e.batch), 0, func(_ int, _ []int, b *video.Batch) error {
		var halves model.Halves
		err := e.engine.Do(ctx, func(s *torch.Scope) (err error) {
			halves, err = e.ensemble.Embed(s, b)
			return err
		})
		if err != nil {
			return err
		}
		return use(b.IDs, halves)
	})
}
