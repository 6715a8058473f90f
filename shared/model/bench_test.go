package model

import (
	"context"
	"fmt"
	"testing"

	"videosim/shared/torch"
	"videosim/shared/video"
)

// Videos a second through both models, frames and texts of all lengths.
func BenchmarkEmbed(b *testing.B) {
	for _, name := range []string{"tiny", "base"} {
		e, err := torch.Start(torch.EngineConfig{Seed: 1})
		if err != nil {
			b.Fatal(err)
		}
		cfg := preset(b, name)
		weights := torch.NewScope()
		var m *Ensemble
		err = e.Do(context.Background(), func(*torch.Scope) error {
			m = newEnsemble(weights, cfg)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		for _, size := range []int{1, 16} {
			for _, longest := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/batch=%d/padToLongest=%v", name, size, longest), func(b *testing.B) {
					batch, err := collator(b, cfg, longest).Collate(videos(cfg, size, video.F16))
					if err != nil {
						b.Fatal(err)
					}
					for b.Loop() {
						err := e.Do(context.Background(), func(s *torch.Scope) error {
							_, err := m.Embed(s, batch)
							return err
						})
						if err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "videos/s")
				})
			}
		}
		m.Close()
		weights.Close()
		e.Close()
	}
}
