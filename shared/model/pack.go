package model

import (
	"cmp"
	"math"
	"slices"

	"videosim/shared/nn"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// packing puts the videos of a batch in order of length, so that those of equal
// length form runs. All is in numbers of videos and rows; no tensor is touched.
type packing struct {
	order []int   // the videos, shortest first
	start []int64 // the first row of each video, by video
	rows  int64
	runs  nn.Packing
}

// pack orders videos of the given lengths.
func pack(lengths []int) packing {
	p := packing{order: make([]int, len(lengths)), start: make([]int64, len(lengths))}
	for i := range p.order {
		p.order[i] = i
	}
	slices.SortStableFunc(p.order, func(a, b int) int { return cmp.Compare(lengths[a], lengths[b]) })
	for _, i := range p.order {
		n := int64(lengths[i])
		p.start[i] = p.rows
		p.rows += n
		if last := len(p.runs) - 1; last >= 0 && p.runs[last].Length == n {
			p.runs[last].Videos++
		} else {
			p.runs = append(p.runs, nn.Run{Videos: 1, Length: n, Read: n})
		}
	}
	return p
}

// back are the places in p.order of video 0, 1, …: rows that bring what was
// computed in the order of p into that of the batch.
func (p packing) back() []int64 {
	places := make([]int64, len(p.order))
	for place, i := range p.order {
		places[i] = int64(place)
	}
	return places
}

// packedText is the text of a batch, packed.
type packedText struct {
	packing
	tokens, types, places torch.Tensor // (N) int64
	first                 torch.Tensor // (B) int64: the row of each video's position 0; B is at least fewestRows, or 1
	layout                nn.Layout
}

// packedInputs are what Inputs are, without padding.
type packedInputs struct {
	late, early packedText
	frames      torch.Tensor // (F,D), the real frames of all videos, in their order

	cross                 packing // title and frames of each video
	crossLayout           nn.Layout
	crossRows             torch.Tensor // (N): title rows first, then frame rows
	crossTypes            torch.Tensor // (N)
	crossPlaces           torch.Tensor // (N)
	crossKeep             torch.Tensor // position 0 of each video, then the frames in the order of the means
	crossFrames           nn.Packing   // of the frames in crossKeep
	video                 nn.Packing   // class token, frames, and what stands for padding
	videoLayout           nn.Layout
	videoRows, framesBack torch.Tensor // rows of the video transformer's table; means to the batch's order
}

// target says where packed inputs go, and what attention wants to know of them.
type target struct {
	device torch.Device
	dtype  torch.DType
	spread bool // nn.Spread, not nn.Packing
}

// packInputs copies a batch to the device without its padding.
func packInputs(s *torch.Scope, cfg Config, b *video.Batch, to target) *packedInputs {
	ids := func(v []int64) torch.Tensor { return torch.Upload(s, v, torch.Int64, to.device, int64(len(v))) }
	in := &packedInputs{late: packText(ids, b.Late, b.Len()), early: packText(ids, b.Early, b.Len())}
	in.frames = packFrames(s, b, to)
	first := make([]int64, b.Len()) // each video's first row of in.frames
	for i := 1; i < b.Len(); i++ {
		first[i] = first[i-1] + int64(b.FrameCount[i-1])
	}
	byFrames := pack(b.FrameCount)
	in.framesBack = ids(fill(byFrames.back()))
	in.packCross(ids, cfg, b, first, byFrames)
	in.packVideo(ids, cfg, b, first, byFrames)
	layout := func(p nn.Packing) nn.Layout {
		if to.spread {
			return p.Spread(s, to.device, to.dtype)
		}
		return p
	}
	in.late.layout, in.early.layout = layout(in.late.runs), layout(in.early.runs)
	in.crossLayout, in.videoLayout = layout(in.cross.runs), layout(in.video)
	return in
}

// fewestRows is the least number of rows that a product with weights gets, but
// for a batch of one video. Below it, MKL on two threads rounds some rows
// otherwise than others, so that an embedding would depend on its place.
const fewestRows = 12

// fill returns a copy of rows, one a video, brought to fewestRows by repeating
// the first; what comes of the others is never read.
func fill(rows []int64) []int64 {
	filled := slices.Clone(rows)
	for len(rows) > 1 && len(filled) < fewestRows {
		filled = append(filled, rows[0])
	}
	return filled
}

func packText(ids func([]int64) torch.Tensor, t video.Tokens, videos int) packedText {
	lengths := make([]int, videos)
	for i := range lengths {
		for _, m := range t.Mask[i*t.Len : (i+1)*t.Len] {
			lengths[i] += int(m)
		}
	}
	p := packedText{packing: pack(lengths)}
	var tokens, types, places []int64
	for _, i := range p.order {
		from, n := i*t.Len, lengths[i]
		tokens = append(tokens, t.IDs[from:from+n]...)
		types = append(types, t.Types[from:from+n]...)
		places = appendCount(places, 0, n)
	}
	p.tokens, p.types, p.places, p.first = ids(tokens), ids(types), ids(places), ids(fill(p.start))
	return p
}

// appendCount appends from, from+1, …, n numbers.
func appendCount(to []int64, from int64, n int) []int64 {
	for i := range n {
		to = append(to, from+int64(i))
	}
	return to
}

// packFrames leaves out the padding rows. Where no video has frames, one row of
// zeros stands there that nothing reads: there are no tensors without elements.
func packFrames(s *torch.Scope, b *video.Batch, to target) torch.Tensor {
	return s.Sub(func(s *torch.Scope) torch.Tensor {
		var frames torch.Tensor
		if b.Float != nil {
			data := realRows(b, b.Float)
			frames = torch.Upload(s, data, torch.Float32, to.device, int64(len(data)/b.FrameDim), int64(b.FrameDim))
		} else {
			data := realRows(b, b.Half)
			frames = torch.Upload(s, data, torch.Float16, to.device, int64(len(data)/b.FrameDim), int64(b.FrameDim))
		}
		return torch.AsType(s, frames, to.dtype)
	})
}

func realRows[T uint16 | float32](b *video.Batch, all []T) []T {
	total, stride := 0, b.FrameLen*b.FrameDim
	for _, n := range b.FrameCount {
		total += n
	}
	if total == b.Len()*b.FrameLen {
		return all
	}
	rows := make([]T, 0, max(1, total)*b.FrameDim)
	for i, n := range b.FrameCount {
		rows = append(rows, all[i*stride:i*stride+n*b.FrameDim]...)
	}
	if total == 0 {
		return rows[:b.FrameDim]
	}
	return rows
}

// packCross prepares the cross-modal encoder. Frames have the places after the
// longest title that the config allows.
func (in *packedInputs) packCross(ids func([]int64) torch.Tensor, cfg Config, b *video.Batch, first []int64, byFrames packing) {
	title := make([]int, b.Len())
	for _, i := range in.early.order {
		title[i] = in.early.length(i)
	}
	both := make([]int, b.Len())
	for i := range both {
		both[i] = title[i] + b.FrameCount[i]
	}
	p := pack(both)
	var rows, types, places []int64
	for _, i := range p.order {
		rows = appendCount(rows, in.early.start[i], title[i])
		rows = appendCount(rows, in.early.rows+first[i], b.FrameCount[i])
		places = appendCount(places, 0, title[i])
		places = appendCount(places, int64(cfg.EarlyTokens), b.FrameCount[i])
		types = append(types, make([]int64, title[i])...)
		types = append(types, slices.Repeat([]int64{frameType}, b.FrameCount[i])...)
	}
	keep := fill(p.start)
	for _, i := range byFrames.order {
		keep = appendCount(keep, p.start[i]+int64(title[i]), b.FrameCount[i])
	}
	in.cross, in.crossFrames = p, byFrames.runs
	in.crossRows, in.crossTypes, in.crossPlaces, in.crossKeep = ids(rows), ids(types), ids(places), ids(keep)
}

// length is the number of rows of video i.
func (p packing) length(i int) int {
	end := p.rows
	if place := slices.Index(p.order, i) + 1; place < len(p.order) {
		end = p.start[p.order[place]]
	}
	return int(end - p.start[i])
}

// packVideo prepares the video transformer. Where it attends to padding, one
// frame of zeros stands for all that a video lacks, as VideoNet.countPadding
// explains.
func (in *packedInputs) packVideo(ids func([]int64) torch.Tensor, cfg Config, b *video.Batch, first []int64, byFrames packing) {
	var rows []int64
	for _, i := range byFrames.order {
		rows = append(rows, nn.ClassRow)
		rows = appendCount(rows, nn.FrameRow+first[i], b.FrameCount[i])
		if cfg.AttendPaddingFrames && b.FrameCount[i] < cfg.Frames {
			rows = append(rows, nn.ZeroRow)
		}
	}
	for _, r := range byFrames.runs {
		run := nn.Run{Videos: r.Videos, Length: 1 + r.Length, Read: 1 + r.Length}
		if missing := int64(cfg.Frames) - r.Length; cfg.AttendPaddingFrames && missing > 0 {
			run.Length++
			run.Bias = float32(math.Log(float64(missing)))
		}
		in.video = append(in.video, run)
	}
	in.videoRows = ids(rows)
}
