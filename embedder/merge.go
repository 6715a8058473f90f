package embedder

import (
	"github.com/x448/float16"

	"videosim/shared/video"
)

// mergeRows joins batches that one collator made into one, padded to the
// longest. Collating each video alone and joining the rows afterwards keeps
// tokenisation on the goroutines of the videos; what is left for the model's
// goroutine is copying.
func mergeRows(parts []*video.Batch) *video.Batch {
	if len(parts) == 1 {
		return parts[0]
	}
	out := &video.Batch{FrameDim: parts[0].FrameDim}
	float := false
	for _, p := range parts {
		out.IDs = append(out.IDs, p.IDs...)
		out.FrameCount = append(out.FrameCount, p.FrameCount...)
		out.Reports = append(out.Reports, p.Reports...)
		out.FrameLen = max(out.FrameLen, p.FrameLen)
		out.Late.Len = max(out.Late.Len, p.Late.Len)
		out.Early.Len = max(out.Early.Len, p.Early.Len)
		float = float || p.Half == nil
	}
	mergeTokens(&out.Late, parts, func(p *video.Batch) *video.Tokens { return &p.Late })
	mergeTokens(&out.Early, parts, func(p *video.Batch) *video.Tokens { return &p.Early })
	if float {
		mergeFloat(out, parts)
	} else {
		mergeHalf(out, parts)
	}
	return out
}

func mergeTokens(out *video.Tokens, parts []*video.Batch, of func(*video.Batch) *video.Tokens) {
	rows := 0
	for _, p := range parts {
		rows += len(p.IDs)
	}
	n := rows * out.Len
	out.IDs, out.Types, out.Mask = make([]int64, n), make([]int64, n), make([]int64, n)
	row := 0
	for _, p := range parts {
		in := of(p)
		for r := range p.IDs {
			from, to := r*in.Len, row*out.Len
			copy(out.IDs[to:], in.IDs[from:from+in.Len])
			copy(out.Types[to:], in.Types[from:from+in.Len])
			copy(out.Mask[to:], in.Mask[from:from+in.Len])
			row++
		}
	}
}

func mergeHalf(out *video.Batch, parts []*video.Batch) {
	width := out.FrameLen * out.FrameDim
	out.Half = make([]uint16, len(out.IDs)*width)
	row := 0
	for _, p := range parts {
		from := p.FrameLen * p.FrameDim
		for r := range p.IDs {
			copy(out.Half[row*width:], p.Half[r*from:(r+1)*from])
			row++
		}
	}
}

// mergeFloat is mergeHalf where at least one part is not in half precision.
// Widening a half is exact, so a row is the same number in either form.
func mergeFloat(out *video.Batch, parts []*video.Batch) {
	width := out.FrameLen * out.FrameDim
	out.Float = make([]float32, len(out.IDs)*width)
	row := 0
	for _, p := range parts {
		from := p.FrameLen * p.FrameDim
		for r := range p.IDs {
			to := out.Float[row*width:]
			if p.Half == nil {
				copy(to, p.Float[r*from:(r+1)*from])
			} else {
				for i, h := range p.Half[r*from : (r+1)*from] {
					to[i] = float16.Frombits(h).Float32()
				}
			}
			row++
		}
	}
}
