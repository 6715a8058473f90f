package video

import (
	_ "embed"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Figures of the challenge's data that a synthetic corpus follows. They are
// counts over the published files, nothing of the files themselves.

// How many of 74,539 test videos have how many frames: lines "frames TAB videos".
//
//go:embed synth_frames_histogram.tsv
var framesHistogram string

// labelHistogram counts the 67,899 judgements by label, 0, 0.05, … 1.
var labelHistogram = [labelSteps + 1]float64{
	24692, 3743, 2591, 2066, 1307, 1058, 1126, 1578, 1572, 1368, 4718,
	1960, 2081, 1929, 1192, 794, 855, 1315, 1301, 1202, 9451,
}

// A judgement is a multiple of 1/labelSteps.
const labelSteps = 20

// tagShare is the part of all tag uses that falls on the most frequent tags,
// by their number, among the 10,000 of the tag list.
var tagShare = [...]struct{ tags, share float64 }{
	{1, 0.0155}, {3, 0.0417}, {10, 0.107}, {30, 0.225}, {100, 0.415},
	{300, 0.626}, {1000, 0.809}, {3000, 0.923}, {10000, 1},
}

// Lengths and counts of the challenge's videos.
const (
	titleMeanChars, titleDeviation = 18.7, 6.1 // 99 % have at most 34 characters
	titleMinChars, titleMaxChars   = 5, 40

	// Speech text is log-normal: median 23, mean 40, 99 % at most 257.
	speechMedianChars, speechLogDeviation = 23, 1.05
	speechMaxChars                        = 600

	// Tags a video are log-normal too: mean 4.76, 99 % at most 12, at most 29.
	tagsMedian, tagsLogDeviation = 4.44, 0.44
	maxTags                      = 29

	// Ids a pair: 63,613 videos in 67,899 pairs.
	pairsPerVideo = 67899.0 / 63613
)

// tagWeights are popularities of n tags, the most frequent first, along the
// curve of tagShare.
func tagWeights(n int) []float64 {
	weights := make([]float64, n)
	before := 0.0
	for i := range weights {
		upTo := shareOf(float64(i + 1))
		weights[i] = upTo - before
		before = upTo
	}
	return weights
}

// shareOf interpolates tagShare in the logarithm of the number of tags.
func shareOf(tags float64) float64 {
	for i := 1; i < len(tagShare); i++ {
		low, high := tagShare[i-1], tagShare[i]
		if tags <= high.tags {
			part := math.Log(tags/low.tags) / math.Log(high.tags/low.tags)
			return low.share + part*(high.share-low.share)
		}
	}
	// Beyond the curve popularity goes on falling, slower than 1/n.
	return 1 + 0.02*math.Log(tags/tagShare[len(tagShare)-1].tags)
}

// weighted draws indexes in proportion to weights.
type weighted struct{ sums []float64 }

func newWeighted(weights []float64) weighted {
	sums := make([]float64, len(weights))
	total := 0.0
	for i, w := range weights {
		total += w
		sums[i] = total
	}
	return weighted{sums}
}

func (w weighted) draw(r *rand.Rand) int {
	at, _ := slices.BinarySearch(w.sums, r.Float64()*w.sums[len(w.sums)-1])
	return min(at, len(w.sums)-1)
}

// zipf are the weights 1, 2^-s, … n^-s.
func zipf(n int, s float64) []float64 {
	weights := make([]float64, n)
	for i := range weights {
		weights[i] = math.Pow(float64(i+1), -s)
	}
	return weights
}

// frameCounts are the counts of frames that videos have, and how to draw them.
func frameCounts() (counts []int, by weighted, err error) {
	counts, videos, err := readFramesHistogram()
	if err != nil {
		return nil, weighted{}, err
	}
	weights := make([]float64, len(videos))
	for i, n := range videos {
		weights[i] = float64(n)
	}
	return counts, newWeighted(weights), nil
}

// FramesOfTestSet tells how many frames each video of the challenge's test set
// has, in ascending order: one entry a video.
func FramesOfTestSet() ([]int, error) {
	counts, videos, err := readFramesHistogram()
	var all []int
	for i, n := range videos {
		all = append(all, slices.Repeat(counts[i:i+1], n)...)
	}
	return all, err
}

// readFramesHistogram reads how many videos have how many frames.
func readFramesHistogram() (counts, videos []int, err error) {
	for i, line := range strings.Split(strings.TrimSpace(framesHistogram), "\n") {
		if i == 0 {
			continue // names of the columns
		}
		var count, n int
		if _, err := fmt.Sscanf(line, "%d\t%d", &count, &n); err != nil {
			return nil, nil, fmt.Errorf("frames histogram, line %d: %w", i+1, err)
		}
		counts, videos = append(counts, count), append(videos, n)
	}
	return counts, videos, nil
}
