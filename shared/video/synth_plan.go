package video

import (
	"math"
	"math/rand/v2"
	"strconv"
)

// plan is a corpus before anything is rendered: what each video is about, and
// which pairs were judged how.
type plan struct {
	ids      []string
	latents  []mixture
	pairwise int // the first so many videos are in pairs
	pairs    []synthPair
}

type synthPair struct {
	a, b  int
	alike float64 // before the judgement
	label float64 // a multiple of 1/labelSteps
}

// Sizes of the connected components of the pairs, 2 and up, by weight. Small
// ones, so that a split that keeps components whole loses no pair. About three
// on average, as in the challenge.
var componentSizes = newWeighted([]float64{0.38, 0.30, 0.17, 0.10, 0.05})

const smallestComponent = 2

// At most this part of the videos are in pairs, so that some are not.
const maxPairwise = 0.9

func newPlan(cfg SynthConfig, w *world) *plan {
	r := random(cfg.Seed, streamPlan)
	p := &plan{}
	wanted := newQuota(cfg.Pairs)
	sizes := components(r, pairwiseVideos(cfg), cfg.Pairs)
	spare := 0 // pairs that the components could have, beyond trees
	trees := 0
	for _, n := range sizes {
		trees += n - 1
		spare += n*(n-1)/2 - (n - 1)
	}
	extra := newShare(cfg.Pairs-trees, spare)
	for _, n := range sizes {
		p.addComponent(r, w, wanted, n, extra.of(n*(n-1)/2-(n-1)))
	}
	p.pairwise = len(p.latents)
	for len(p.latents) < cfg.Videos {
		p.latents = append(p.latents, w.anyMixture(r))
	}
	for _, id := range distinct(r, len(p.latents), 1e15, 9e18) {
		p.ids = append(p.ids, strconv.FormatInt(id, 10))
	}
	r.Shuffle(len(p.pairs), func(i, j int) { p.pairs[i], p.pairs[j] = p.pairs[j], p.pairs[i] })
	for i := range p.pairs {
		p.pairs[i].label = judge(p.pairs[i].alike + cfg.LabelNoise*r.NormFloat64())
	}
	return p
}

// judge puts a similarity on the judges' scale.
func judge(alike float64) float64 {
	return math.Round(min(1, max(0, alike))*labelSteps) / labelSteps
}

// pairwiseVideos is how many videos the pairs should touch.
func pairwiseVideos(cfg SynthConfig) int {
	most := int(maxPairwise * float64(cfg.Videos))
	return min(most, int(math.Ceil(float64(cfg.Pairs)/pairsPerVideo))+1)
}

// components divides videos into components that have room for the pairs.
// Where many pairs are asked of few videos, all components are larger.
func components(r *rand.Rand, videos, pairs int) []int {
	if pairs == 0 {
		return nil
	}
	for larger := 0; ; larger++ {
		var sizes []int
		room, left := 0, videos
		for left > 0 {
			n := min(left, smallestComponent+larger+componentSizes.draw(r))
			if left-n < smallestComponent { // nobody is left alone
				n = left
			}
			sizes = append(sizes, n)
			room += n * (n - 1) / 2
			left -= n
		}
		if room >= pairs {
			return sizes
		}
	}
}

// addComponent adds n videos, joined by a tree of n-1 pairs and extra ones.
func (p *plan) addComponent(r *rand.Rand, w *world, wanted *quota, n, extra int) {
	first := len(p.latents)
	p.latents = append(p.latents, w.anyMixture(r))
	joined := map[[2]int]bool{}
	join := func(a, b int) {
		joined[[2]int{a, b}] = true
		alike := w.alike(p.latents[a], p.latents[b])
		wanted.take(alike)
		if r.IntN(2) == 0 {
			a, b = b, a
		}
		p.pairs = append(p.pairs, synthPair{a: a, b: b, alike: alike})
	}
	for len(p.latents) < first+n && !wanted.done() {
		a, b := first+r.IntN(len(p.latents)-first), len(p.latents)
		p.latents = append(p.latents, w.relative(r, p.latents[a], wanted.next(r)))
		join(a, b)
	}
	for ; extra > 0 && !wanted.done(); extra-- {
		a, b, need := -1, -1, math.Inf(-1)
		for i := first; i < len(p.latents); i++ {
			for j := i + 1; j < len(p.latents); j++ {
				if joined[[2]int{i, j}] {
					continue
				}
				if n := wanted.need(w.alike(p.latents[i], p.latents[j])); n > need {
					a, b, need = i, j, n
				}
			}
		}
		if a < 0 {
			return
		}
		join(a, b)
	}
}

// quota keeps the histogram of labels on course: what is still wanted of each.
type quota struct {
	left  [labelSteps + 1]float64
	total int
}

func newQuota(pairs int) *quota {
	sum := 0.0
	for _, n := range labelHistogram {
		sum += n
	}
	q := &quota{total: pairs}
	for i, n := range labelHistogram {
		q.left[i] = n / sum * float64(pairs)
	}
	return q
}

func (q *quota) done() bool { return q.total == 0 }

func bin(alike float64) int { return int(math.Round(alike * labelSteps)) }

func (q *quota) need(alike float64) float64 { return q.left[bin(alike)] }

func (q *quota) take(alike float64) { q.left[bin(alike)]--; q.total-- }

// next draws a label that is still wanted.
func (q *quota) next(r *rand.Rand) float64 {
	weights := make([]float64, len(q.left))
	for i, n := range q.left {
		weights[i] = max(0, n) + 1e-9
	}
	return float64(newWeighted(weights).draw(r)) / labelSteps
}

// share deals a number of things in proportion to room, in whole numbers.
type share struct{ things, room, given, seen int }

func newShare(things, room int) *share { return &share{things: max(0, things), room: room} }

func (s *share) of(room int) int {
	if s.room == 0 {
		return 0
	}
	s.seen += room
	n := s.things*s.seen/s.room - s.given
	s.given += n
	return n
}
