package query

import (
	"context"
	"math"

	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// Split is a cosine as a sum of terms. An embedding is (late+early)/|late+early|,
// so the product of two of them is four products of halves over both lengths:
//
//	cosine = Late + Early + Cross,  Cross = LateEarly + EarlyLate
type Split struct {
	Cosine                  float64
	Late, Early, Cross      float64 // late·late, early·early and both mixed products
	LateEarly               float64 // late half of a with the early half of b
	EarlyLate               float64 // early half of a with the late half of b
	LateShareA, EarlyShareA float64 // length of a half over the sum of both lengths
	LateShareB, EarlyShareB float64
}

// SplitCosine splits the cosine of two stored embeddings by their halves.
func SplitCosine(a, b *event.Embedding) (Split, error) {
	for _, e := range []*event.Embedding{a, b} {
		if len(e.Late) == 0 || len(e.Late) != len(e.Early) || len(e.Late) != len(a.Late) {
			return Split{}, errs.New(errs.Corrupt, "the stored halves of video %q have %d and %d numbers", e.Id, len(e.Late), len(e.Early))
		}
	}
	lengths := sumLength(a) * sumLength(b)
	if lengths == 0 {
		return Split{}, errs.New(errs.Corrupt, "the stored halves of %q or %q cancel out", a.Id, b.Id)
	}
	s := Split{
		Late:      dot(a.Late, b.Late) / lengths,
		Early:     dot(a.Early, b.Early) / lengths,
		LateEarly: dot(a.Late, b.Early) / lengths,
		EarlyLate: dot(a.Early, b.Late) / lengths,
	}
	s.Cross = s.LateEarly + s.EarlyLate
	s.Cosine = s.Late + s.Early + s.Cross
	s.LateShareA, s.EarlyShareA = shares(a)
	s.LateShareB, s.EarlyShareB = shares(b)
	return s, nil
}

func sumLength(e *event.Embedding) float64 {
	var sum float64
	for i, x := range e.Late {
		s := float64(x) + float64(e.Early[i])
		sum += s * s
	}
	return math.Sqrt(sum)
}

func shares(e *event.Embedding) (late, early float64) {
	l, r := norm32(e.Late), norm32(e.Early)
	return l / (l + r), r / (l + r)
}

// Modality is what one kind of input adds to a cosine: the cosine minus the
// cosine with that input left out of both videos. Share is Gain over the sum
// of all gains, negative ones counted as none. Left is false where a video
// consists of that input alone, so that it cannot be left out.
type Modality struct {
	Name        string // "title", "speech" or "frames"
	Gain, Share float64
	Left        bool
}

// modalities and how each is left out of a video.
var modalities = []struct {
	name  string
	clear func(*event.VideoEvent)
}{
	{"title", func(v *event.VideoEvent) { v.Title = "" }},
	{"speech", func(v *event.VideoEvent) { v.AsrText = "" }},
	{"frames", func(v *event.VideoEvent) { v.Frames = nil }},
}

// Modalities re-embeds both videos with each modality left out in turn, and
// whole for comparison, in one call to the embedders.
func (e *Engine) Modalities(ctx context.Context, a, b *event.VideoEvent) ([]Modality, error) {
	var inputs []Input
	add := func(path string, v *event.VideoEvent) { inputs = append(inputs, Input{Path: path, Video: v}) }
	add("a", a)
	add("b", b)
	var asked []int // place in modalities of each further pair
	for i, m := range modalities {
		withoutA, withoutB := proto.Clone(a).(*event.VideoEvent), proto.Clone(b).(*event.VideoEvent)
		m.clear(withoutA)
		m.clear(withoutB)
		if !hasContent(withoutA) || !hasContent(withoutB) {
			continue
		}
		add("a without "+m.name, withoutA)
		add("b without "+m.name, withoutB)
		asked = append(asked, i)
	}
	res, err := e.Resolve(ctx, inputs)
	if err != nil {
		return nil, err
	}
	whole := cosine(res.Vectors[0], res.Vectors[1])
	out := make([]Modality, len(modalities))
	total := 0.0
	for i, m := range modalities {
		out[i].Name = m.name
	}
	for j, i := range asked {
		out[i].Left = true
		out[i].Gain = whole - cosine(res.Vectors[2+2*j], res.Vectors[3+2*j])
		total += max(0, out[i].Gain)
	}
	for i := range out {
		if total > 0 {
			out[i].Share = max(0, out[i].Gain) / total
		}
	}
	return out, nil
}

func hasContent(v *event.VideoEvent) bool {
	return v.Title != "" || v.AsrText != "" || v.Frames != nil
}

func cosine(a, b []float32) float64 { return dot(a, b) / (norm32(a) * norm32(b)) }
