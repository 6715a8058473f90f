package testkit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"videosim/shared/video"
)

// RealVideos makes n videos whose lengths are distributed as the challenge's:
// frames as in its test set, at most mostFrames; titles of 18.7 characters on
// average and 99 % up to 34; speech texts of 23 at the median, 40 on average and
// 99 % up to 257. What they say and show is random.
func RealVideos(t testing.TB, n, frameDim, mostFrames int, seed uint64) []video.Video {
	t.Helper()
	frames, err := video.FramesOfTestSet()
	if err != nil {
		t.Fatal(err)
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
				Encoding: video.F16, Dim: frameDim, Count: min(mostFrames, frames[r.IntN(len(frames))]),
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
