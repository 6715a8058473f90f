package model

import (
	"fmt"
	"testing"
)

// Videos a second as they are served, of the challenge's lengths, in every
// precision that the CPU has instructions for.
func BenchmarkEmbed(b *testing.B) {
	device := benchHardware().device
	for _, name := range []string{"tiny", "base"} {
		cfg := preset(b, name)
		dir := benchBundle(b, cfg)
		for _, precision := range nativePrecisions(device) {
			s := openServed(b, dir, device, precision)
			for _, size := range []int{1, 16} {
				batch, err := collator(b, cfg, true).Collate(realVideos(b, cfg, size, 1))
				if err != nil {
					b.Fatal(err)
				}
				b.Run(fmt.Sprintf("%s/%s/batch=%d", name, precision, size), func(b *testing.B) {
					for b.Loop() {
						s.embed(b, batch, batch)
					}
					b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "videos/s")
				})
			}
			s.close()
		}
	}
}
