package trainer

import (
	"math"
	"math/rand/v2"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/model"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// lengths draws videos whose lengths are those of the challenge's: frames as in
// its test set, titles of 18.7 characters on average and 99 % up to 34, speech texts of 23 at the median,
// 40 on average and 99 % up to 257. A Chinese character is a token.
type lengths struct {
	random *rand.Rand
	frames []int // one entry a video
}

func newLengths(b *testing.B, seed uint64) *lengths {
	frames, err := video.FramesOfTestSet()
	if err != nil {
		b.Fatal(err)
	}
	return &lengths{random: rand.New(rand.NewPCG(seed, 0)), frames: frames}
}

// benchVideo is the length of each part of a video.
type benchVideo struct{ title, speech, frames int }

func (l *lengths) video() benchVideo {
	return benchVideo{
		title:  max(2, int(math.Round(18.7+6.6*l.random.NormFloat64()))),
		speech: int(23 * math.Exp(1.05*l.random.NormFloat64())),
		frames: l.frames[l.random.IntN(len(l.frames))],
	}
}

// benchBatch is a batch in two files: padded as the published system pads, and
// to the longest video as the trainer pads.
type benchBatch struct {
	videos        int
	padded, short string
	stage         benchStageKind
}

func (l *lengths) batch(b *testing.B, stage benchStageKind, cfg model.Config, videos int, path string) benchBatch {
	all := make([]benchVideo, videos)
	for i := range all {
		all[i] = l.video()
	}
	return l.write(b, stage, cfg, all, path)
}

// small is a batch for machines that are slow in a precision.
func (l *lengths) small(b *testing.B, stage benchStageKind, cfg model.Config, path string) benchBatch {
	cfg.LateTokens, cfg.EarlyTokens, cfg.Frames = 4, 4, 2
	videos := []benchVideo{{2, 5, 2}, {1, 2, 1}}
	if stage.pairs { // batch statistics need two pairs
		videos = append(videos, videos...)
	}
	return l.write(b, stage, cfg, videos, path)
}

// write stores a batch of these videos.
func (l *lengths) write(b *testing.B, stage benchStageKind, cfg model.Config, videos []benchVideo, path string) benchBatch {
	out := benchBatch{videos: len(videos), padded: path + ".padded", short: path + ".short", stage: stage}
	seed := l.random.Uint64()
	for _, file := range []string{out.padded, out.short} {
		w := &batchWriter{random: rand.New(rand.NewPCG(seed, 1)), cfg: cfg, full: file == out.padded,
			early: stage.name == "cross" || stage.name == "early"}
		if stage.pairs {
			half := len(videos) / 2
			w.videos("video1.", videos[:half])
			w.videos("video2.", videos[half:])
			w.floats("labels", half, func(int) float32 { return float32(w.random.IntN(21)) / 20 }, int64(half))
		} else {
			w.videos("video.", videos)
			n := len(videos) * cfg.Tags
			w.floats("tags", n, func(int) float32 { // 4.76 tags a video on average
				if w.random.Float64() < 4.76/float64(cfg.Tags) {
					return 1
				}
				return 0
			}, int64(len(videos)), int64(cfg.Tags))
		}
		if err := bundle.WriteSafetensors(file, w.tensors); err != nil {
			b.Fatal(err)
		}
	}
	return out
}

// batchWriter collects the tensors of one file. The same seed gives the same
// videos, however they are padded.
type batchWriter struct {
	random  *rand.Rand
	cfg     model.Config
	early   bool // the title alone
	full    bool // pad to the config's limits
	tensors []bundle.NamedTensor
}

func (w *batchWriter) videos(prefix string, videos []benchVideo) {
	limit := w.cfg.LateTokens
	if w.early {
		limit = w.cfg.EarlyTokens
	}
	tokens, frames := make([]int, len(videos)), make([]int, len(videos))
	longest, most := 0, 0
	for i, v := range videos {
		tokens[i] = min(limit, v.title+2)
		if !w.early {
			tokens[i] = min(limit, v.title+2+v.speech)
		}
		frames[i] = min(w.cfg.Frames, v.frames)
		longest, most = max(longest, tokens[i]), max(most, frames[i])
	}
	if w.full {
		longest, most = limit, w.cfg.Frames
	}
	n, t, f, d := len(videos), longest, most, w.cfg.Video.FrameDim
	ids, types, mask := make([]int64, n*t), make([]int64, n*t), make([]int64, n*t)
	frameMask, values := make([]int64, n*f), make([]float32, n*f*d)
	for i, v := range videos {
		for j := range tokens[i] {
			ids[i*t+j], mask[i*t+j] = int64(200+w.random.IntN(w.cfg.Text.Vocab-200)), 1
			if j >= v.title+2 {
				types[i*t+j] = 1
			}
		}
		for j := range frames[i] {
			frameMask[i*f+j] = 1
			for k := range d {
				values[(i*f+j)*d+k] = float32(0.1 + 0.3*w.random.NormFloat64())
			}
		}
	}
	w.ints(prefix+"tokens", ids, n, t)
	w.ints(prefix+"types", types, n, t)
	w.ints(prefix+"mask", mask, n, t)
	w.ints(prefix+"frame_mask", frameMask, n, f)
	w.floats(prefix+"frames", len(values), func(i int) float32 { return values[i] }, int64(n), int64(f), int64(d))
}

func (w *batchWriter) ints(name string, values []int64, rows, columns int) {
	s := torch.NewScope()
	defer s.Close()
	raw := torch.FromInt64s(s, values, int64(len(values))).Bytes()
	w.tensors = append(w.tensors, bundle.NamedTensor{Name: name, DType: "I64", Shape: []int64{int64(rows), int64(columns)}, Data: raw})
}

func (w *batchWriter) floats(name string, n int, at func(i int) float32, shape ...int64) {
	values := make([]float32, n)
	for i := range values {
		values[i] = at(i)
	}
	s := torch.NewScope()
	defer s.Close()
	raw := torch.FromFloat32s(s, values, int64(n)).Bytes()
	w.tensors = append(w.tensors, bundle.NamedTensor{Name: name, DType: "F32", Shape: shape, Data: raw})
}

// benchTensors are a batch as the networks take it.
type benchTensors struct {
	inputs       []*model.Inputs
	tags, labels torch.Tensor
}

func (t benchBatch) tensors(b *testing.B, s *torch.Scope) benchTensors {
	stored, err := bundle.ReadSafetensors(t.short)
	if err != nil {
		b.Fatal(err)
	}
	x := map[string]torch.Tensor{}
	for _, v := range stored {
		dtype := map[string]torch.DType{"I64": torch.Int64, "F32": torch.Float32}[v.DType]
		x[v.Name] = torch.FromBytes(s, dtype, v.Data, v.Shape...)
	}
	inputs := func(prefix string) *model.Inputs {
		text := model.Text{Tokens: x[prefix+"tokens"], Types: x[prefix+"types"], Mask: x[prefix+"mask"]}
		return &model.Inputs{Late: text, Early: text, Frames: x[prefix+"frames"], FrameMask: x[prefix+"frame_mask"]}
	}
	if t.stage.pairs {
		return benchTensors{inputs: []*model.Inputs{inputs("video1."), inputs("video2.")}, labels: x["labels"]}
	}
	return benchTensors{inputs: []*model.Inputs{inputs("video.")}, tags: x["tags"]}
}
