package embedder

import "videosim/shared/video"

// lengths are those of a row, or the longest of a batch's: tokens of both models and
// frames. A batch is padded to each of the three by itself.
type lengths struct{ late, early, frames int }

func lengthsOf(b *video.Batch) lengths { return lengths{b.Late.Len, b.Early.Len, b.FrameLen} }

// fullLengths are the longest that the models take.
func fullLengths(c video.CollateConfig) lengths {
	return lengths{c.LateTokens, c.EarlyTokens, c.Frames}
}

// sum is how many positions the models compute for a row of these lengths.
func (n lengths) sum() int { return n.late + n.early + n.frames }

func (n lengths) max(m lengths) lengths {
	return lengths{max(n.late, m.late), max(n.early, m.early), max(n.frames, m.frames)}
}

// distance is how much the shorter of two rows is padded beside the longer, both ways.
func (n lengths) distance(m lengths) int {
	d := func(a, b int) int { return max(a-b, b-a) }
	return d(n.late, m.late) + d(n.early, m.early) + d(n.frames, m.frames)
}

// bucket is the step of the lengths to which a device pads that computes padding. It
// bounds the number of shapes, so that the warm-up can run each; and a fused kernel
// of attention wants masks of a multiple of 8 keys.
const bucket = 8

// buckets are the lengths to which rows of up to full positions are padded, the
// longest first.
func buckets(full int) []int {
	all := []int{full}
	for n := (full - 1) / bucket * bucket; n > 0; n -= bucket {
		all = append(all, n)
	}
	return all
}

// up is the bucket of n, at most full.
func up(n, full int) int { return max(n, min(full, (n+bucket-1)/bucket*bucket)) }
