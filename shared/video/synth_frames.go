package video

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/x448/float16"
)

// The challenge's frame values look like what a network's swish activation
// gives: none below -0.28, half of them negative, a few as large as 3. So a
// value here is swish(rest + spread·latent): rest and spread belong to the
// channel, the latent to the video and the frame. The channels' rests make any
// two videos alike (cosine 0.32), whatever they show.
const (
	channelRest      = -0.08
	channelRestWidth = 0.335
	channelSpread    = 0.48
	channelSpreadLog = 0.35
	gainLog          = 0.06 // of a video, log-normal: exposure
)

// optics says where things lie among the frame values, and how they get there.
type optics struct {
	dim                       int
	rest, spread              []float32
	topics, categories, style [][]float32 // directions, variance 1 a value
	topicShare, categoryShare float32     // amplitudes
	strengths                 SynthStrengths
}

func newOptics(r *rand.Rand, s SynthStrengths, dim, topics, categories int) optics {
	o := optics{
		dim: dim, strengths: s,
		rest: make([]float32, dim), spread: make([]float32, dim),
		topics: directions(r, topics, dim), categories: directions(r, categories, dim),
		style:         directions(r, s.StyleDims, dim),
		topicShare:    root(s.FrameTopic * (1 - categoryShare)),
		categoryShare: root(s.FrameTopic * categoryShare),
	}
	for d := range dim {
		o.rest[d] = float32(channelRest + channelRestWidth*r.NormFloat64())
		o.spread[d] = float32(channelSpread * math.Exp(channelSpreadLog*r.NormFloat64()))
	}
	return o
}

func root(x float64) float32 { return float32(math.Sqrt(x)) }

func directions(r *rand.Rand, n, dim int) [][]float32 {
	out := make([][]float32, n)
	for i := range out {
		out[i] = normals(r, make([]float32, dim))
	}
	return out
}

func normals(r *rand.Rand, dst []float32) []float32 {
	for i := range dst {
		dst[i] = float32(r.NormFloat64())
	}
	return dst
}

func add(dst, direction []float32, amount float32) {
	for i, v := range direction {
		dst[i] += float32(amount * v) // the conversion forbids a fused multiply-add: same bytes everywhere
	}
}

// shoot renders count frames of a video about m.
func (w *world) shoot(r *rand.Rand, m mixture, count int) Frames {
	o := &w.optics
	scene := o.scene(r, w, m)
	drift, noise := root(o.strengths.FrameDrift), root(o.strengths.FrameNoise)
	keep := float32(o.strengths.DriftKeep)
	renew := root(1 - o.strengths.DriftKeep*o.strengths.DriftKeep)
	gain := float32(math.Exp(gainLog * r.NormFloat64()))

	moving := normals(r, make([]float32, o.dim))
	data := make([]byte, 0, count*o.dim*F16.Bytes())
	for f := range count {
		for d := range o.dim {
			if f > 0 {
				moving[d] = float32(keep*moving[d]) + float32(renew*float32(r.NormFloat64()))
			}
			latent := scene[d] + float32(drift*moving[d]) + float32(noise*float32(r.NormFloat64()))
			v := swish(gain * (o.rest[d] + float32(o.spread[d]*latent)))
			data = binary.LittleEndian.AppendUint16(data, float16.Fromfloat32(v).Bits())
		}
	}
	return Frames{Encoding: F16, Dim: o.dim, Count: count, Data: data}
}

// scene is the part of the latent that all frames of a video share: its
// topics, its style, and what is its own.
func (o *optics) scene(r *rand.Rand, w *world, m mixture) []float32 {
	scene := normals(r, make([]float32, o.dim))
	own := root(o.strengths.FrameOwn)
	for d := range scene {
		scene[d] *= own
	}
	norm := root(w.product(m, m))
	for i, t := range m.topics {
		weight := float32(m.weights[i]) / norm
		add(scene, o.topics[t], weight*o.topicShare)
		add(scene, o.categories[w.topics[t].category], weight*o.categoryShare)
	}
	loud := root(o.strengths.FrameStyle / float64(len(o.style)))
	for _, direction := range o.style {
		add(scene, direction, loud*float32(r.NormFloat64()))
	}
	return scene
}

func swish(x float32) float32 { return x / (1 + float32(math.Exp(-float64(x)))) }
