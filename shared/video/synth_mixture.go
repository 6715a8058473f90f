package video

import (
	"math"
	"math/rand/v2"
)

// mixture is the latent of a video: what it is about, by weight.
type mixture struct {
	topics  [2]int
	weights [2]float64 // sum 1; the second is 0 where there is one topic
}

func single(t int) mixture { return mixture{topics: [2]int{t, t}, weights: [2]float64{1, 0}} }

func double(a, b int, weight float64) mixture {
	if a == b {
		return single(a)
	}
	return mixture{topics: [2]int{a, b}, weights: [2]float64{weight, 1 - weight}}
}

// draw returns one of the topics by weight.
func (m mixture) draw(r *rand.Rand) int {
	if r.Float64() < m.weights[0] {
		return m.topics[0]
	}
	return m.topics[1]
}

// kinship is how alike two topics are: 1 the same, categoryShare in one
// category, else 0.
func (w *world) kinship(a, b int) float64 {
	switch {
	case a == b:
		return 1
	case w.topics[a].category == w.topics[b].category:
		return categoryShare
	}
	return 0
}

func (w *world) product(a, b mixture) float64 {
	sum := 0.0
	for i, t := range a.topics {
		for j, u := range b.topics {
			sum += a.weights[i] * b.weights[j] * w.kinship(t, u)
		}
	}
	return sum
}

// alike is the similarity of two videos before anybody judges it: the cosine
// of their mixtures under kinship, in 0…1.
func (w *world) alike(a, b mixture) float64 {
	return min(1, w.product(a, b)/math.Sqrt(w.product(a, a)*w.product(b, b)))
}

// anyMixture draws what a video is about, as they come: one topic in three
// videos of ten, else two, half of the time in one category.
func (w *world) anyMixture(r *rand.Rand) mixture { return w.mixtureOf(r, w.byTopic.draw(r)) }

// mixtureOf draws a mixture whose main topic is given.
func (w *world) mixtureOf(r *rand.Rand, main int) mixture {
	if r.Float64() < 0.3 {
		return single(main)
	}
	second := w.byTopic.draw(r)
	if r.Float64() < 0.5 {
		second = w.sibling(r, main)
	}
	return double(main, second, 0.55+0.35*r.Float64())
}

// sibling draws a topic of the same category, perhaps t itself.
func (w *world) sibling(r *rand.Rand, t int) int {
	c := &w.categories[w.topics[t].category]
	return c.topics[c.byPart.draw(r)]
}

// relative draws a mixture that is as alike to a as target says, as nearly as
// a few attempts of each kind of relation come.
func (w *world) relative(r *rand.Rand, a mixture, target float64) mixture {
	best, bestMiss := mixture{}, math.Inf(1)
	for range 6 {
		theirs := a.draw(r)
		for _, m := range [...]mixture{
			w.anyMixture(r),
			w.mixtureOf(r, w.sibling(r, theirs)),
			w.mixtureOf(r, theirs),
			double(w.byTopic.draw(r), theirs, 0.5+0.45*r.Float64()),
			double(a.topics[0], a.topics[1], min(0.95, max(0.5, a.weights[0]+0.1*r.NormFloat64()))),
		} {
			if miss := math.Abs(w.alike(a, m) - target); miss < bestMiss {
				best, bestMiss = m, miss
			}
		}
	}
	return best
}
