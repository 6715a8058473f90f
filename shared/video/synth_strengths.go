package video

// SynthStrengths set how much of a synthetic video is about its topics and how
// much is in the way. They decide what an untrained network finds (little:
// nuisances dominate every raw cosine) and what a trained one can.
//
// Shares of frames are parts of the variance of one value before the
// activation; they need not sum to 1.
type SynthStrengths struct {
	FrameTopic float64 // the video's topics
	FrameStyle float64 // style, light and camera: few directions, the same for all topics, drawn anew for each video
	FrameOwn   float64 // what is in this video alone
	FrameDrift float64 // changes from scene to scene
	FrameNoise float64 // each frame for itself
	StyleDims  int     // directions that FrameStyle is spread over: fewer make it louder in a cosine
	DriftKeep  float64 // correlation of the drift from a frame to the next

	// Parts of the words of a text that come from the video's topics, its
	// categories and topics that it has nothing to do with; the rest are common
	// words that say nothing.
	TitleTopic, TitleCategory   float64
	SpeechTopic, SpeechCategory float64
	StrayWords                  float64
	TopicWords, CategoryWords   int     // words of each
	Voices, VoiceWords          int     // manners of speaking, each with its own common words; a video has one
	VideosPerTopic              int     // how many videos there are for each topic, about
	NoTitle, NoTags, NoFrames   float64 // parts of videos that lack a field
	NoSpeech, NanSpeech         float64 // without speech text; with the literal "nan"
}

// DefaultSynthStrengths are what the demo and the presets use.
func DefaultSynthStrengths() SynthStrengths {
	return SynthStrengths{
		FrameTopic: 0.10, FrameStyle: 0.22, FrameOwn: 0.02, FrameDrift: 0.38, FrameNoise: 0.08,
		StyleDims: 2, DriftKeep: 0.6,

		TitleTopic: 0.42, TitleCategory: 0.10,
		SpeechTopic: 0.26, SpeechCategory: 0.08,
		StrayWords: 0.06, TopicWords: 10, CategoryWords: 10, Voices: 3, VoiceWords: 16,
		VideosPerTopic: 50,

		NoTitle: 0.01, NoTags: 0.02, NoFrames: 0.01, NoSpeech: 0.05, NanSpeech: 0.08,
	}
}

// categoryShare is how alike two topics of one category are, on the scale of
// the judgements; topics of different categories are 0 alike.
const categoryShare = 0.4
