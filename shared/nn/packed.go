package nn

import (
	"math"

	"videosim/shared/torch"
)

// Packing says how the rows of a packed tensor (N,H) belong to videos. A packed
// tensor holds the positions of all videos one after another, without padding,
// so that whatever treats each position alone does no work in vain. Only
// attention and means look at the videos.
//
// It is for inference: videos of equal length stand together. As a Layout it has
// attention compute each video apart, on the CPU.
type Packing []Run

// Run is a number of videos of equal length, Videos·Length rows.
type Run struct {
	Videos, Length int64
	// Read is how many of a video's rows its mean covers: all but a last one
	// that stands for padding.
	Read int64
	// Bias is added to the score of each video's last key.
	Bias float32
}

func (r Run) rows() int64 { return r.Videos * r.Length }

// Layout is how the positions of a batch lie in memory: all that attention
// needs to know about them.
type Layout interface {
	// attend turns queries, keys and values into what was attended to, in the
	// shape of the queries.
	attend(s *torch.Scope, q, k, v torch.Tensor, heads int64, dropout float64) torch.Tensor
}

// padded is the layout (B,N,H): every video has N positions, and the mask
// (B,1,1,N), where there is one, hides those that are none.
type padded struct{ mask torch.Tensor }

func (p padded) attend(s *torch.Scope, q, k, v torch.Tensor, heads int64, dropout float64) torch.Tensor {
	q = splitHeads(s, q, heads) // (B,heads,Q,H/heads)
	k = splitHeads(s, k, heads) // (B,heads,N,H/heads)
	v = splitHeads(s, v, heads) // (B,heads,N,H/heads)
	return joinHeads(s, torch.Attention(s, q, k, v, p.mask, dropout))
}

func (p Packing) attend(s *torch.Scope, q, k, v torch.Tensor, heads int64, _ float64) torch.Tensor {
	var lengths []int64
	var bias []float32
	for _, r := range p {
		for range r.Videos {
			lengths, bias = append(lengths, r.Length), append(bias, r.Bias)
		}
	}
	return torch.PackedAttention(s, q, k, v, heads, lengths, bias) // (N,H)
}

// Spread is a Packing whose attention is one call over all videos, with padding, for
// a GPU, which wants few large ones. Attention is one percent of the arithmetic, and
// the padding's part of it is all that is computed in vain.
type Spread struct {
	videos, longest int64
	from            torch.Tensor // (B·N) the row at each place, where a video is shorter any
	back            torch.Tensor // the place of each row
	bias            torch.Tensor // (B,1,1,N) added to the scores: -∞ where a video is shorter
}

// spreadStep is what lengths are rounded up to: fused kernels read biases 8 at a time.
const spreadStep = 8

// Spread prepares p for a device. Videos of one length need no padding.
func (p Packing) Spread(s *torch.Scope, device torch.Device, dtype torch.DType) Spread {
	if len(p) == 1 && p[0].Bias == 0 {
		return Spread{videos: p[0].Videos, longest: p[0].Length}
	}
	var videos, longest int64
	for _, r := range p {
		videos, longest = videos+r.Videos, max(longest, r.Length)
	}
	longest = (longest + spreadStep - 1) / spreadStep * spreadStep
	var from, back []int64
	var bias []float32
	for _, r := range p {
		for range r.Videos {
			first := int64(len(back))
			for i := range longest {
				if i < r.Length {
					back = append(back, int64(len(from)))
					from, bias = append(from, first+i), append(bias, 0)
				} else {
					from, bias = append(from, first), append(bias, float32(math.Inf(-1)))
				}
			}
			bias[int64(len(bias))-longest+r.Length-1] = r.Bias
		}
	}
	return Spread{
		videos: videos, longest: longest,
		from: torch.Upload(s, from, torch.Int64, device, int64(len(from))),
		back: torch.Upload(s, back, torch.Int64, device, int64(len(back))),
		bias: torch.AsType(s, torch.Upload(s, bias, torch.Float32, device, videos, 1, 1, longest), dtype),
	}
}

func (p Spread) attend(s *torch.Scope, q, k, v torch.Tensor, heads int64, dropout float64) torch.Tensor {
	spread := func(x torch.Tensor) torch.Tensor {
		if p.from.Defined() {
			x = Rows(s, x, p.from)
		}
		return torch.Reshape(s, x, p.videos, p.longest, -1) // (B,N,H)
	}
	a := padded{p.bias}.attend(s, spread(q), spread(k), spread(v), heads, dropout)
	a = torch.Reshape(s, a, p.videos*p.longest, -1) // (B·N,H)
	if p.from.Defined() {
		a = Rows(s, a, p.back)
	}
	return a
}

// batch is one run of x (N,H), which begins at a row: (videos,length,H).
func (p Packing) batch(s *torch.Scope, x torch.Tensor, start int64, r Run) torch.Tensor {
	return torch.Reshape(s, torch.Narrow(s, x, 0, start, r.rows()), r.Videos, r.Length, -1)
}

// Mean averages the rows of each video that are read, in Float32: (V,H), the
// videos in the order of the packing. Without any it is zero.
func (p Packing) Mean(s *torch.Scope, x torch.Tensor) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		parts := make([]torch.Tensor, len(p))
		start := int64(0)
		for i, r := range p {
			if r.Read == 0 {
				parts[i] = torch.Zeros(s, torch.Float32, x.Device(), r.Videos, x.Size(1))
			} else {
				read := torch.Narrow(s, p.batch(s, x, start, r), 1, 0, r.Read)
				parts[i] = torch.Mean(s, torch.AsType(s, read, torch.Float32), 1, false)
			}
			start += r.rows()
		}
		return torch.Cat(s, 0, parts...)
	})
}

// Rows picks rows of x (N,H) by number: (K,H).
func Rows(s *torch.Scope, x, rows torch.Tensor) torch.Tensor { return torch.Embedding(s, x, rows, -1) }

// EncodePacked is Encode for a packed batch: hidden (N,H), types and places (N).
// Of the last layer it computes only the rows that keep (K) names, in its
// order: (K,H). Without keep it computes all.
func (b *BERT) EncodePacked(s *torch.Scope, hidden, types, places, keep torch.Tensor, in Layout) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		x := b.embed(s, hidden, types, places)
		for i, l := range b.layers {
			x = s.Sub(func(s *torch.Scope) torch.Tensor {
				a := l.attention(s, x, x, in)
				if i == len(b.layers)-1 && keep.Defined() {
					return l.feed(s, Rows(s, a, keep), Rows(s, x, keep))
				}
				return l.feed(s, a, x)
			})
			s.Step()
		}
		return x
	})
}

// Rows of the table from which ForwardPacked takes its input.
const (
	ClassRow = iota // the class token
	ZeroRow         // a frame of zeros, which stands for padding
	FrameRow        // the first real frame
)

// ForwardPacked is Forward for a packed batch. rows (N) names the positions of
// all videos: ClassRow, ZeroRow, or FrameRow plus the number of a row of frames
// (F,D). It returns their states (N,D).
func (v *VideoTransformer) ForwardPacked(s *torch.Scope, frames, rows torch.Tensor, in Layout) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		d := frames.Size(1)
		class := torch.Reshape(s, v.class, 1, d)
		zero := torch.Zeros(s, frames.DType(), frames.Device(), 1, d)
		x := Rows(s, torch.Cat(s, 0, class, zero, frames), rows) // (N,D)
		for _, l := range v.layers {
			x = s.Sub(func(s *torch.Scope) torch.Tensor { return l.forward(s, x, in) })
			s.Step()
		}
		return x
	})
}
