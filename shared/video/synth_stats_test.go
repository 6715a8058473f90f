package video_test

import (
	"math"
	"slices"
	"testing"
	"unicode/utf8"

	"videosim/shared/eval"
	"videosim/shared/video"
)

// within fails where a measured figure is further from the challenge's than
// the tolerance.
func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	t.Logf("%-42s %8.3f   challenge %8.3f", what, got, want)
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: %.4g, want %.4g ± %.2g", what, got, want, tolerance)
	}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// quantile of values, which it sorts.
func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[int(q*float64(len(values)-1))]
}

// The corpus against the challenge's published figures.
func TestSynthFollowsTheChallenge(t *testing.T) {
	c := readCorpus(t, synthesize(t, preset(t, "tiny", 4000, 4000, 11)))
	var titles, speech, tags, frames []float64
	silent, nan, noTitle, noTags, noFrames := 0.0, 0.0, 0.0, 0.0, 0.0
	part := 1 / float64(len(c.videos))
	for _, v := range c.videos {
		if n := utf8.RuneCountInString(v.Title); n > 0 {
			titles = append(titles, float64(n))
		} else {
			noTitle += part
		}
		switch v.ASRText {
		case "":
			silent += part
		case "nan":
			nan += part
		default:
			speech = append(speech, float64(utf8.RuneCountInString(v.ASRText)))
		}
		tags = append(tags, float64(len(v.TagIDs)))
		if len(v.TagIDs) == 0 {
			noTags += part
		}
		if v.Frames.Count > 0 {
			frames = append(frames, float64(v.Frames.Count))
		} else {
			noFrames += part
		}
	}
	within(t, "title characters, mean", mean(titles), 18.7, 0.4)
	within(t, "title characters, 99 %", quantile(titles, 0.99), 34, 2)
	within(t, "title characters, least", slices.Min(titles), 5, 0)
	within(t, "title characters, most", slices.Max(titles), 40, 2)
	within(t, "speech characters, mean", mean(speech), 40, 3)
	within(t, "speech characters, median", quantile(speech, 0.5), 23, 2)
	within(t, "speech characters, 99 %", quantile(speech, 0.99), 257, 35)
	within(t, "tags, mean", mean(tags), 4.76, 0.2)
	within(t, "tags, 99 %", quantile(tags, 0.99), 12, 1)
	within(t, "tags, most, at most 29", slices.Max(tags), 22, 7)
	within(t, "frames, mean", mean(frames), 16.2, 0.4)
	within(t, "frames, most", slices.Max(frames), 32, 0)

	// The challenge says "sometimes"; these are the corpus's own settings.
	s := video.DefaultSynthStrengths()
	within(t, "without title", noTitle, s.NoTitle, 0.005)
	within(t, "without speech", silent, s.NoSpeech, 0.01)
	within(t, "speech is nan", nan, s.NanSpeech, 0.015)
	within(t, "without tags", noTags, s.NoTags, 0.008)
	within(t, "without frames", noFrames, s.NoFrames, 0.005)
	within(t, "tags of the list that are used", usedTags(c), 1, 0.02)
}

func usedTags(c corpus) float64 {
	used := map[int]bool{}
	for _, v := range c.videos {
		for _, column := range c.tags.Columns(v.TagIDs) {
			used[column] = true
		}
	}
	return float64(len(used)) / float64(c.tags.Len())
}

func TestSynthLabelHistogram(t *testing.T) {
	c := readCorpus(t, synthesize(t, preset(t, "tiny", 3000, 3000, 12)))
	// The challenge's 67,899 judgements, in five bands.
	bands := []struct {
		name     string
		from, to float64
		want     float64
	}{
		{"label 0", 0, 0, 0.364}, {"labels 0.05 to 0.3", 0.05, 0.3, 0.175}, {"labels 0.35 to 0.6", 0.35, 0.6, 0.196},
		{"labels 0.65 to 0.95", 0.65, 0.95, 0.127}, {"label 1", 1, 1, 0.139},
	}
	for _, b := range bands {
		n := 0.0
		for _, label := range c.labels {
			if label > b.from-0.01 && label < b.to+0.01 {
				n++
			}
		}
		within(t, b.name, n/float64(len(c.labels)), b.want, 0.04)
	}
	for _, label := range c.labels {
		if steps := label * 20; math.Abs(steps-math.Round(steps)) > 1e-9 {
			t.Fatalf("label %v is no multiple of 0.05", label)
		}
	}
}

// Popularity of tags, at the challenge's own length of the list.
func TestSynthTagPopularity(t *testing.T) {
	cfg := preset(t, "base", 6000, 1000, 13)
	cfg.FrameDim = 4
	counts := map[int64]float64{}
	total := 0.0
	for _, v := range readCorpus(t, synthesize(t, cfg)).videos {
		for _, id := range v.TagIDs {
			counts[id]++
			total++
		}
	}
	var uses []float64
	for _, n := range counts {
		uses = append(uses, n)
	}
	slices.SortFunc(uses, func(a, b float64) int { return int(b - a) })
	for _, c := range []struct {
		tags int
		want float64
	}{{10, 0.107}, {30, 0.225}, {100, 0.415}, {300, 0.626}, {1000, 0.809}} {
		sum := 0.0
		for _, n := range uses[:c.tags] {
			sum += n
		}
		within(t, "uses of the most frequent tags", sum/total, c.want, 0.08)
	}
}

// Cosines and norms of frames, at the challenge's own dimension.
func TestSynthFrames(t *testing.T) {
	var same, next, norms, first []float64
	var previous []float32
	negative, values, least := 0.0, 0.0, 0.0
	for _, v := range readCorpus(t, synthesize(t, preset(t, "base", 150, 20, 14))).videos {
		if v.Frames.Count == 0 {
			continue
		}
		x, dim := v.Frames.Float32s(), v.Frames.Dim
		for _, value := range x {
			values++
			if value < 0 {
				negative++
			}
			least = min(least, float64(value))
		}
		row := func(i int) []float32 { return x[i*dim : (i+1)*dim] }
		for i := range v.Frames.Count {
			norms = append(norms, norm(row(i)))
			for j := i + 1; j < v.Frames.Count; j++ {
				same = append(same, eval.Cosine(row(i), row(j)))
			}
			if i > 0 {
				next = append(next, eval.Cosine(row(i-1), row(i)))
			}
		}
		if previous != nil {
			first = append(first, eval.Cosine(previous, row(0)))
		}
		previous = row(0)
	}
	within(t, "cosine inside a video", mean(same), 0.63, 0.05)
	within(t, "cosine of neighbours", mean(next), 0.80, 0.04)
	within(t, "cosine between videos", mean(first), 0.32, 0.06)
	within(t, "norm, 1 %", quantile(norms, 0.01), 9.3, 2)
	within(t, "norm, 99 %", quantile(norms, 0.99), 14.8, 3)
	within(t, "negative values", negative/values, 0.49, 0.1)
	within(t, "least value", least, -0.26, 0.03)
}

func norm(row []float32) float64 {
	sum := 0.0
	for _, x := range row {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}
