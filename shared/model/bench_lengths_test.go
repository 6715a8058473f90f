package model

import (
	"testing"

	"videosim/shared/nn"
	"videosim/shared/testkit"
	"videosim/shared/video"
)

// realVideos makes videos as long as the challenge's, for the models of cfg.
func realVideos(b testing.TB, cfg Config, n int, seed uint64) []video.Video {
	return testkit.RealVideos(b, n, cfg.Video.FrameDim, cfg.Frames, seed)
}

// gflop counts the multiplications and additions of a batch's products: what an
// embedding needs (useful), and what a system computes that pads every video to
// the config's lengths and every layer to all its positions (padded).
func gflop(cfg Config, b *video.Batch) (useful, padded float64) {
	for i := range b.IDs {
		late, title := 0, 0
		for j := range b.Late.Len {
			late += int(b.Late.Mask[i*b.Late.Len+j])
		}
		for j := range b.Early.Len {
			title += int(b.Early.Mask[i*b.Early.Len+j])
		}
		frames := b.FrameCount[i]
		useful += videoFLOP(cfg, late, title, frames, false)
		padded += videoFLOP(cfg, cfg.LateTokens, cfg.EarlyTokens, cfg.Frames, true)
	}
	return useful / 1e9, padded / 1e9
}

// videoFLOP counts one video. Heads are a thousandth of it and left out. With
// all, every position of the last layers is computed.
func videoFLOP(cfg Config, late, title, frames int, all bool) float64 {
	keepText, keepCross := 1, 1+frames
	if all {
		keepText, keepCross = late, title+frames
	}
	v := cfg.Video
	inner, d, n := v.Heads*v.HeadDim, v.FrameDim, 1+frames
	visual := 2*frames*d*cfg.Text.Hidden + v.Depth*(2*n*(4*d*inner+2*d*v.MLP)+4*n*n*inner)
	return bertFLOP(cfg.Text.bert(), late, keepText) + bertFLOP(cfg.Text.bert(), title, title) +
		bertFLOP(cfg.cross(), title+frames, keepCross) + float64(visual)
}

// bertFLOP counts n positions, of which the last layer computes keep.
func bertFLOP(c nn.BERTConfig, n, keep int) float64 {
	h, f := c.Hidden, c.Intermediate
	layer := func(q int) int { return 2*(2*n*h*h+2*q*h*h+2*q*h*f) + 4*q*n*h }
	return float64((c.Layers-1)*layer(n) + layer(keep))
}
