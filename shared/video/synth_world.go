package video

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"unicode/utf8"

	"videosim/shared/text"
)

// Streams of random numbers of one seed. Each part has its own, so that a
// change in one leaves the others as they were.
const (
	streamWorld = iota
	streamFrames
	streamPlan
	streamVideo // and the video's number above it
)

// random is stream number n of a seed.
func random(seed, n uint64) *rand.Rand {
	// SplitMix64's finaliser: neighbouring streams share no bits.
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return rand.New(rand.NewPCG(seed, n^n>>31))
}

// world is what all videos of a corpus share: the topics with their words and
// tags, and where they lie among the frame values.
type world struct {
	strengths  SynthStrengths
	topics     []topic
	byTopic    weighted // popularity
	categories []category
	voices     []lexicon
	general    tagPool
	tagKind    weighted // general, of a category, of a topic
	tagIDs     []int64  // the most popular first
	optics     optics
	frames     weighted // index into counts
	counts     []int
}

type topic struct {
	category int
	words    lexicon
	tags     tagPool
}

type category struct {
	id     int64
	words  lexicon
	tags   tagPool
	topics []int
	byPart weighted // popularity of topics
}

// lexicon is a list of words and how often each is said.
type lexicon struct {
	words [][]rune
	by    weighted
}

// tagPool are tags to draw from.
type tagPool struct {
	ids     []int64
	weights []float64
	by      weighted
}

func newWorld(cfg SynthConfig) (*world, error) {
	r := random(cfg.Seed, streamWorld)
	s := cfg.strengths()
	w := &world{strengths: s}
	var err error
	if w.counts, w.frames, err = frameCounts(); err != nil {
		return nil, err
	}
	topics := max(4, min(cfg.Videos/s.VideosPerTopic, cfg.Tags/6))
	w.layTopics(r, topics)
	w.coinWords(r)
	w.dealTags(r, cfg.Tags)
	w.optics = newOptics(random(cfg.Seed, streamFrames), s, cfg.FrameDim, len(w.topics), len(w.categories))
	return w, nil
}

// layTopics makes categories of about five topics, some popular, some not.
func (w *world) layTopics(r *rand.Rand, n int) {
	categories := max(2, n/5)
	ids := distinct(r, categories, 10000, 13999)
	for c := range categories {
		w.categories = append(w.categories, category{id: ids[c]})
	}
	for t := range n {
		c := t % categories
		w.topics = append(w.topics, topic{category: c})
		w.categories[c].topics = append(w.categories[c].topics, t)
	}
	popular := make([]float64, n)
	of := zipf(categories, 0.6)
	for c := range w.categories {
		part := zipf(len(w.categories[c].topics), 0.4)
		w.categories[c].byPart = newWeighted(part)
		sum := 0.0
		for _, p := range part {
			sum += p
		}
		for i, t := range w.categories[c].topics {
			popular[t] = of[c] * part[i] / sum
		}
	}
	w.byTopic = newWeighted(popular)
}

// coinWords makes words of two or three of the vocabulary's Chinese characters.
// No word has two meanings; a character may stand in several words.
func (w *world) coinWords(r *rand.Rand) {
	characters := chineseCharacters()
	known := map[string]bool{}
	coin := func(n int) lexicon {
		l := lexicon{by: newWeighted(zipf(n, 0.7))}
		for len(l.words) < n {
			word := make([]rune, 2+r.IntN(5)/3) // three in five have two characters
			for i := range word {
				word[i] = characters[r.IntN(len(characters))]
			}
			if !known[string(word)] {
				known[string(word)] = true
				l.words = append(l.words, word)
			}
		}
		return l
	}
	for range w.strengths.Voices {
		w.voices = append(w.voices, coin(w.strengths.VoiceWords))
	}
	for c := range w.categories {
		w.categories[c].words = coin(w.strengths.CategoryWords)
	}
	for t := range w.topics {
		w.topics[t].words = coin(w.strengths.TopicWords)
	}
}

// chineseCharacters are the unified ideographs among the vocabulary's tokens.
func chineseCharacters() []rune {
	var out []rune
	for line := range bytes.SplitSeq(text.ChineseVocab(), []byte("\n")) {
		if r, n := utf8.DecodeRune(line); n == len(line) && r >= 0x4E00 && r <= 0x9FFF {
			out = append(out, r)
		}
	}
	return out
}

// Tags for everybody, at most; the challenge's most frequent say little too.
const maxGeneralTags = 20

// dealTags gives the most popular tags to everybody, the next to the
// categories, and the others to the topics, in turn. How often a tag of each
// pool is used follows from the popularity of what is in it.
func (w *world) dealTags(r *rand.Rand, n int) {
	w.tagIDs = distinct(r, n, 1000, 56_000_000)
	general := max(1, min(n/25, maxGeneralTags))
	categorical := general + len(w.categories)*max(1, min(n/(10*len(w.categories)), 5))
	uses := [3]float64{}
	for i, weight := range tagWeights(n) {
		kind, pool := 0, &w.general
		switch {
		case i >= categorical:
			kind, pool = 2, &w.topics[(i-categorical)%len(w.topics)].tags
		case i >= general:
			kind, pool = 1, &w.categories[(i-general)%len(w.categories)].tags
		}
		uses[kind] += weight
		pool.ids, pool.weights = append(pool.ids, w.tagIDs[i]), append(pool.weights, weight)
	}
	w.tagKind = newWeighted(uses[:])
	w.general.by = newWeighted(w.general.weights)
	for c := range w.categories {
		w.categories[c].tags.by = newWeighted(w.categories[c].tags.weights)
	}
	for t := range w.topics {
		w.topics[t].tags.by = newWeighted(w.topics[t].tags.weights)
	}
}

// distinct draws n different numbers in [low, high].
func distinct(r *rand.Rand, n int, low, high int64) []int64 {
	seen := make(map[int64]bool, n)
	out := make([]int64, 0, n)
	for len(out) < n {
		if v := low + r.Int64N(high-low+1); !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

// logNormal draws a whole number with the given median, clipped.
func logNormal(r *rand.Rand, median, deviation float64, low, high int) int {
	v := math.Round(median * math.Exp(deviation*r.NormFloat64()))
	return max(low, min(high, int(v)))
}

// drawTags draws up to n different tags for a mixture of topics.
func (w *world) drawTags(r *rand.Rand, m mixture, n int) []int64 {
	var out []int64
	for tries := 0; len(out) < n && tries < 4*n; tries++ {
		t := m.draw(r)
		pool := &w.general
		switch w.tagKind.draw(r) {
		case 1:
			pool = &w.categories[w.topics[t].category].tags
		case 2:
			pool = &w.topics[t].tags
		}
		if id := pool.ids[pool.by.draw(r)]; !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
