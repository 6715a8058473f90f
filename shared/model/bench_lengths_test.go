package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"videosim/shared/nn"
	"videosim/shared/video"
)

// realVideos makes n videos whose lengths are distributed as the challenge's:
// frames as in its test set, titles of 18.7 characters on average and 99 % up to 34, speech texts of 23 at
// the median, 40 on average and 99 % up to 257. What they say and show is random.
func realVideos(b testing.TB, cfg Config, n int, seed uint64) []video.Video {
	frames, err := video.FramesOfTestSet()
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	words := func(n int) string {
		out := make([]rune, n)
		for i := range out {
			out[i] = rune(0x4e00 + r.IntN(3000))
		}
		return string(out)
	}
	all := make([]video.Video, n)
	for i := range all {
		all[i] = video.Video{
			ID:      fmt.Sprint(i),
			Title:   words(max(1, int(math.Round(18.7+6.6*r.NormFloat64())))),
			ASRText: words(int(23 * math.Exp(1.05*r.NormFloat64()))),
			Frames: video.Frames{
				Encoding: video.F16, Dim: cfg.Video.FrameDim, Count: min(cfg.Frames, frames[r.IntN(len(frames))]),
			},
		}
		f := &all[i].Frames
		f.Data = make([]byte, 0, 2*f.Count*f.Dim)
		for range f.Count * f.Dim {
			half := uint16(0x2c00+r.IntN(0x1000)) | uint16(r.IntN(2))<<15 // ±1/16 … ±1
			f.Data = append(f.Data, byte(half), byte(half>>8))
		}
	}
	return all
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
