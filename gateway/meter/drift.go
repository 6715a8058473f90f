package meter

import (
	"math"

	"videosim/shared/event"
)

// Drift describes a sample of embeddings in the order in which they were made.
type Drift struct {
	NormError           float64 // largest distance of a norm from 1
	LateNorm, EarlyNorm float64 // mean norm of the halves
	// Shift is the distance between the means of the older and of the newer
	// half of the sample. Noise is what chance alone would make of it, were
	// all drawn alike: a Shift of twice the Noise or more is a drift.
	Shift, Noise float64
	// Missing is the share of videos without a title, speech, frames.
	MissingTitle, MissingSpeech, MissingFrames float64
}

// measure needs at least two embeddings.
func measure(sample []*event.Embedding) Drift {
	var d Drift
	n := float64(len(sample))
	for _, e := range sample {
		d.NormError = max(d.NormError, math.Abs(norm(e.Embedding)-1))
		d.LateNorm += norm(e.Late) / n
		d.EarlyNorm += norm(e.Early) / n
		for share, there := range map[*float64]bool{&d.MissingTitle: e.Input.GetTitle(), &d.MissingSpeech: e.Input.GetSpeech(), &d.MissingFrames: e.Input.GetFrames()} {
			if !there {
				*share += 1 / n
			}
		}
	}
	older, newer := sample[:len(sample)/2], sample[len(sample)/2:]
	a, b := mean(older), mean(newer)
	var square float64
	for i := range a {
		square += (a[i] - b[i]) * (a[i] - b[i])
	}
	d.Shift = math.Sqrt(square)
	// Vectors of norm 1 scatter around their mean m with variance 1 − |m|²; a
	// mean of k of them is off by that over k.
	d.Noise = math.Sqrt(scatter(a)/float64(len(older)) + scatter(b)/float64(len(newer)))
	return d
}

func scatter(mean []float64) float64 {
	var square float64
	for _, x := range mean {
		square += x * x
	}
	return max(0, 1-square)
}

func mean(sample []*event.Embedding) []float64 {
	sum := make([]float64, len(sample[0].Embedding))
	for _, e := range sample {
		for i, x := range e.Embedding {
			sum[i] += float64(x) / float64(len(sample))
		}
	}
	return sum
}

func norm(v []float32) float64 {
	var square float64
	for _, x := range v {
		square += float64(x) * float64(x)
	}
	return math.Sqrt(square)
}
