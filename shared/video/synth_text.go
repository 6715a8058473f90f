package video

import "math/rand/v2"

// Between words, now and then.
var punctuation = []rune("，！？。#")

const punctuationShare = 0.07

// title writes a title: words of the video's topics among words that say
// nothing, titleMinChars to titleMaxChars characters.
func (w *world) title(r *rand.Rand, m mixture, voice *lexicon) string {
	n := int(titleMeanChars + 0.5 + titleDeviation*r.NormFloat64())
	n = max(titleMinChars, min(titleMaxChars, n))
	return w.write(r, m, n, manner{voice, w.strengths.TitleTopic, w.strengths.TitleCategory})
}

// speech writes what is said in the video; the challenge's data has the
// literal "nan" for many that say nothing.
func (w *world) speech(r *rand.Rand, m mixture, voice *lexicon) string {
	switch u := r.Float64(); {
	case u < w.strengths.NoSpeech:
		return ""
	case u < w.strengths.NoSpeech+w.strengths.NanSpeech:
		return "nan"
	}
	n := logNormal(r, speechMedianChars, speechLogDeviation, 1, speechMaxChars)
	return w.write(r, m, n, manner{voice, w.strengths.SpeechTopic, w.strengths.SpeechCategory})
}

// manner is how a text is written: whose common words it uses, and the parts
// of words that say what the video is about.
type manner struct {
	voice           *lexicon
	topic, category float64
}

// write fills n characters with words.
func (w *world) write(r *rand.Rand, m mixture, n int, how manner) string {
	out := make([]rune, 0, n+4)
	for len(out) < n {
		l := how.voice
		switch u := r.Float64(); {
		case u < how.topic:
			l = &w.topics[m.draw(r)].words
		case u < how.topic+how.category:
			l = &w.categories[w.topics[m.draw(r)].category].words
		case u < how.topic+how.category+w.strengths.StrayWords:
			l = &w.topics[r.IntN(len(w.topics))].words
		}
		out = append(out, l.words[l.by.draw(r)]...)
		if r.Float64() < punctuationShare {
			out = append(out, punctuation[r.IntN(len(punctuation))])
		}
	}
	return string(out[:n])
}
