package video

import "videosim/shared/errs"

// SynthConfig describes a synthetic corpus. The same config gives the same
// bytes, on any number of cores.
//
// Everything is drawn from latents: categories hold topics, a video is about
// one or two of them. A topic has its own words, tags and directions among the
// frame values, so title, speech, tags, category and frames all tell of it,
// each among much that does not. Judgements are the overlap of two
// latents, in steps of 0.05. Lengths, counts and histograms are the
// challenge's (synth_figures.go).
//
//	synth_world.go    topics, words, tags
//	synth_mixture.go  what a video is about, and how alike two are
//	synth_plan.go     all videos and pairs
//	synth_text.go, synth_frames.go  one video rendered
//	synth_write.go    the folder
type SynthConfig struct {
	Videos, Pairs int
	Seed          uint64
	FrameDim      int
	Tags          int     // length of tag_list.txt
	LabelNoise    float64 // standard deviation of the judges, on the scale 0…1; 0: they are sure
	// Strengths of signal and nuisance; the zero value means
	// DefaultSynthStrengths.
	Strengths SynthStrengths
}

// SynthPreset is the corpus that fits a model preset: "tiny" (128 values a
// frame, 400 tags) or "base" (1,536 and 10,000, the challenge's).
func SynthPreset(preset string, videos, pairs int, seed uint64) (SynthConfig, error) {
	cfg := SynthConfig{Videos: videos, Pairs: pairs, Seed: seed, Strengths: DefaultSynthStrengths()}
	switch preset {
	case "tiny":
		cfg.FrameDim, cfg.Tags = 128, 400
	case "base":
		cfg.FrameDim, cfg.Tags = 1536, 10000
	default:
		return SynthConfig{}, errs.Field("preset", "expected tiny or base, found %q", preset)
	}
	return cfg, cfg.Validate()
}

// Limits that keep a mistyped number from filling a disk.
const (
	maxSynthVideos = 10_000_000
	maxSynthTags   = 1_000_000
	minSynthTags   = 24 // at least four topics of a few tags each
)

// Validate says what is wrong with c, as Invalid with the field.
func (c SynthConfig) Validate() error {
	switch {
	case c.Videos < 1 || c.Videos > maxSynthVideos:
		return errs.Field("videos", "expected 1 to %d, found %d", maxSynthVideos, c.Videos)
	case c.Tags < minSynthTags || c.Tags > maxSynthTags:
		return errs.Field("tags", "expected %d to %d, found %d", minSynthTags, maxSynthTags, c.Tags)
	case c.FrameDim < 1 || c.FrameDim > 1<<16:
		return errs.Field("frame_dim", "expected 1 to %d, found %d", 1<<16, c.FrameDim)
	case !(c.LabelNoise >= 0 && c.LabelNoise <= 1):
		return errs.Field("label_noise", "expected 0 to 1, found %g", c.LabelNoise)
	}
	s := c.strengths()
	if min(s.VideosPerTopic, s.TopicWords, s.CategoryWords, s.Voices, s.VoiceWords, s.StyleDims) < 1 {
		return errs.Field("strengths", "expected counts of at least 1, found %+v", s)
	}
	paired := int(maxPairwise * float64(c.Videos))
	if most := paired * (paired - 1) / 2; c.Pairs < 0 || c.Pairs > most {
		return errs.Field("pairs", "expected 0 to %d for %d videos, found %d", most, c.Videos, c.Pairs)
	}
	return nil
}

func (c SynthConfig) strengths() SynthStrengths {
	if c.Strengths == (SynthStrengths{}) {
		return DefaultSynthStrengths()
	}
	return c.Strengths
}

// render makes video i of a plan. Each has its own random numbers, so videos
// can be made in any order.
func (w *world) render(cfg SynthConfig, p *plan, i int) Video {
	r := random(cfg.Seed, streamVideo+uint64(i))
	m, s := p.latents[i], w.strengths
	v := Video{ID: p.ids[i], CategoryID: w.categories[w.topics[m.topics[0]].category].id}
	voice := &w.voices[r.IntN(len(w.voices))]
	if r.Float64() >= s.NoTitle {
		v.Title = w.title(r, m, voice)
	}
	v.ASRText = w.speech(r, m, voice)
	if r.Float64() >= s.NoTags {
		v.TagIDs = w.drawTags(r, m, logNormal(r, tagsMedian, tagsLogDeviation, 1, maxTags))
	}
	if r.Float64() >= s.NoFrames {
		v.Frames = w.shoot(r, m, w.counts[w.frames.draw(r)])
	}
	return v
}
