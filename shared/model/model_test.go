package model

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/nn"
	"videosim/shared/testkit"
	"videosim/shared/text"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// videos makes n videos of all lengths: with and without title, speech, frames.
func videos(cfg Config, n int, encoding video.Encoding) []video.Video {
	r := rand.New(rand.NewPCG(1, 2))
	words := func(most int) string {
		out := make([]rune, r.IntN(most+1))
		for i := range out {
			out[i] = rune(0x4e00 + r.IntN(3000))
		}
		return string(out)
	}
	all := make([]video.Video, n)
	for i := range all {
		v := video.Video{ID: fmt.Sprint(i), Title: words(40), ASRText: words(60)}
		v.Frames = video.Frames{Encoding: encoding, Dim: cfg.Video.FrameDim, Count: r.IntN(cfg.Frames + 1)}
		if i == 1 {
			v.Frames.Count = 0
		}
		for range v.Frames.Count * v.Frames.Dim {
			half := uint16(0x2c00+r.IntN(0x1000)) | uint16(r.IntN(2))<<15 // ±1/16 … ±1
			if encoding == video.F16 {
				v.Frames.Data = append(v.Frames.Data, byte(half), byte(half>>8))
			} else {
				bits := math.Float32bits(halfValue(half))
				v.Frames.Data = append(v.Frames.Data, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
			}
		}
		all[i] = v
	}
	return all
}

// halfValue reads a normal float16.
func halfValue(bits uint16) float32 {
	v := math.Ldexp(1+float64(bits&0x3ff)/1024, int(bits>>10&31)-15)
	if bits>>15 == 1 {
		v = -v
	}
	return float32(v)
}

func collator(t testing.TB, cfg Config, padToLongest bool) *video.Collator {
	t.Helper()
	tok, err := text.New(text.ChineseVocab(), cfg.TextOptions())
	if err != nil {
		t.Fatal(err)
	}
	return video.NewCollator(tok, cfg.Collate(padToLongest))
}

// newEnsemble makes both networks with new values.
func newEnsemble(s *torch.Scope, cfg Config) *Ensemble {
	return NewEnsemble(cfg, NewLate(cfg, nn.NewParams(s, nn.Options{})), NewEarlyFinetuned(cfg, nn.NewParams(s, nn.Options{})))
}

// sameHalves compares all embeddings, relative to the largest value.
func sameHalves(t *testing.T, name string, got, want Halves, gate float64) {
	t.Helper()
	testkit.Close(t, name+", late", slices.Concat(got.Late...), slices.Concat(want.Late...), gate)
	testkit.Close(t, name+", early", slices.Concat(got.Early...), slices.Concat(want.Early...), gate)
}

func TestPaddingAndCompanyChangeNothing(t *testing.T) {
	for _, attend := range []bool{false, true} {
		cfg := preset(t, "tiny")
		cfg.AttendPaddingFrames = attend
		all := videos(cfg, 9, video.F16)
		full, longest := collator(t, cfg, false), collator(t, cfg, true)
		onEngine(t, func(s *torch.Scope) {
			m := newEnsemble(s, cfg)
			defer m.Close()
			want := embed(t, s, m, collate(t, full, all...))
			var alone Halves
			for i, v := range all {
				one := embed(t, s, m, collate(t, longest, v))
				alone.Late, alone.Early = append(alone.Late, one.Late...), append(alone.Early, one.Early...)
				others := embed(t, s, m, collate(t, longest, all[i/2:i+1]...))
				last := Halves{Late: others.Late[len(others.Late)-1:], Early: others.Early[len(others.Early)-1:]}
				sameHalves(t, "in another batch", last, one, gate)
			}
			sameHalves(t, fmt.Sprintf("alone, padding attended %v", attend), alone, want, gate)
		})
	}
}

// In batches of one shape an embedding does not depend on its place or on the
// other videos, to the last bit.
func TestPlaceInTheBatchChangesNoBit(t *testing.T) {
	cfg := preset(t, "tiny")
	all := videos(cfg, 12, video.F16)
	c := collator(t, cfg, false)
	onEngine(t, func(s *torch.Scope) {
		m := newEnsemble(s, cfg)
		defer m.Close()
		want := embed(t, s, m, collate(t, c, all...))
		turned := append(slices.Clone(all[5:]), all[:5]...)
		got := embed(t, s, m, collate(t, c, turned...))
		for i := range all {
			j := (i + len(all) - 5) % len(all)
			if !slices.Equal(got.Late[j], want.Late[i]) || !slices.Equal(got.Early[j], want.Early[i]) {
				t.Errorf("video %d at place %d differs from itself at place %d", i, j, i)
			}
		}
	})
}

func TestFrameEncodingsAgree(t *testing.T) {
	cfg := preset(t, "tiny")
	c := collator(t, cfg, true)
	onEngine(t, func(s *torch.Scope) {
		m := newEnsemble(s, cfg)
		defer m.Close()
		half := embed(t, s, m, collate(t, c, videos(cfg, 4, video.F16)...))
		float := embed(t, s, m, collate(t, c, videos(cfg, 4, video.F32)...))
		sameHalves(t, "the same numbers as float32", float, half, 0)
	})
}

func TestEmbedRefusesTrainingMode(t *testing.T) {
	cfg := preset(t, "tiny")
	onEngine(t, func(s *torch.Scope) {
		m := newEnsemble(s, cfg)
		defer m.Close()
		m.Early.Params().SetTraining(true)
		if _, err := m.Embed(s, collate(t, collator(t, cfg, true), videos(cfg, 1, video.F16)...)); errs.KindOf(err) != errs.Internal {
			t.Errorf("got %v, want Internal", err)
		}
	})
}

// writeBundle stores a new ensemble and returns what it embeds.
func writeBundle(t *testing.T, dir string, cfg Config, b *video.Batch) Halves {
	t.Helper()
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var h Halves
	onEngine(t, func(s *torch.Scope) {
		m := newEnsemble(s, cfg)
		defer m.Close()
		h = embed(t, s, m, b)
		_, err = bundle.Write(dir, bundle.Contents{
			Config: config, Vocab: text.ChineseVocab(),
			Late: m.Late.Params().Export(), Early: m.Early.Params().Export(),
			Manifest: bundle.Manifest{EmbeddingDim: cfg.Embedding, FrameDim: cfg.Video.FrameDim, Preset: "tiny"},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// leastCosines says how close a half must come to that of plain fp32 weights.
// int8 gives each row of activations, and each output of a weight, 255 steps.
var leastCosines = map[string]float64{"fp32": 0.9999999, "bf16": 0.999, "int8": 0.999}

func TestOpenGivesTheSameEmbeddings(t *testing.T) {
	cfg := preset(t, "tiny")
	b := collate(t, collator(t, cfg, true), videos(cfg, 1000, video.F16)...)
	dir := filepath.Join(t.TempDir(), "bundle")
	want := writeBundle(t, dir, cfg, b)
	opened, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, precision := range precisions("cpu") {
		least, before := leastCosines[precision], torch.LiveTensors()
		onServed(t, opened, precision, func(s *torch.Scope, m *Ensemble) {
			h := embed(t, s, m, b)
			worst := 1.0
			for i := range h.Late {
				worst = min(worst, cosine(h.Late[i], want.Late[i]), cosine(h.Early[i], want.Early[i]))
			}
			t.Logf("%s: worst cosine of 2,000 halves %.6f", precision, worst)
			if !(worst >= least) {
				t.Errorf("%s: worst cosine to fp32 %.6f, want %v", precision, worst, least)
			}
		})
		if torch.LiveTensors() != before {
			t.Errorf("%d tensors left after Close", torch.LiveTensors()-before)
		}
	}
}

// As they are served, an embedding's bits do not depend on its place nor on its
// company, whatever the precision: only on whether it is alone, when a product
// may have one row.
func TestServedPlaceAndCompanyChangeNoBit(t *testing.T) {
	cfg := preset(t, "tiny")
	all := videos(cfg, 40, video.F16)
	c := collator(t, cfg, true)
	dir := filepath.Join(t.TempDir(), "bundle")
	writeBundle(t, dir, cfg, collate(t, c, all[:1]...))
	opened, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, precision := range precisions("cpu") {
		onServed(t, opened, precision, func(s *torch.Scope, m *Ensemble) {
			want := embed(t, s, m, collate(t, c, all...))
			for _, part := range [][2]int{{20, 40}, {7, 21}, {25, 40}} {
				got := embed(t, s, m, collate(t, c, all[part[0]:part[1]]...))
				for i := range got.Late {
					j := part[0] + i
					if !slices.Equal(got.Late[i], want.Late[j]) || !slices.Equal(got.Early[i], want.Early[j]) {
						t.Errorf("%s: video %d alone with those of %v differs from itself among all", precision, j, part)
					}
				}
			}
		})
	}
}

// precisions are those that a device of this machine serves in.
func precisions(device string) []string {
	list := []string{"fp32", "bf16"}
	if e, err := torch.Start(torch.EngineConfig{Device: device, Precision: "int8"}); err == nil {
		e.Close()
		list = append(list, "int8")
	}
	return list
}

// onServed runs f on b as the embedder opens it.
func onServed(t *testing.T, b *bundle.Bundle, precision string, f func(*torch.Scope, *Ensemble)) {
	t.Helper()
	e, err := torch.Start(torch.EngineConfig{Precision: precision})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m, err := Open(e, b)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := e.Do(context.Background(), func(s *torch.Scope) error { f(s, m); return nil }); err != nil {
		t.Error(err)
	}
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

func TestOpenRefusesWeightsOfAnotherConfig(t *testing.T) {
	cfg := preset(t, "tiny")
	dir := filepath.Join(t.TempDir(), "bundle")
	writeBundle(t, dir, cfg, collate(t, collator(t, cfg, true), videos(cfg, 1, video.F16)...))
	opened, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Text.Layers++
	if opened.Config, err = json.Marshal(cfg); err != nil {
		t.Fatal(err)
	}
	e, err := torch.Start(torch.EngineConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	before := torch.LiveTensors()
	if _, err := Open(e, opened); errs.KindOf(err) != errs.Corrupt || !strings.Contains(err.Error(), "late.safetensors") {
		t.Errorf("got %v, want Corrupt that names the file", err)
	}
	if torch.LiveTensors() != before {
		t.Errorf("%d tensors leaked", torch.LiveTensors()-before)
	}
}

// The published sizes. Nothing is computed: blank parameters take no memory
// until they are written.
func TestBaseHasThePublishedSizes(t *testing.T) {
	cfg := preset(t, "base")
	trained := func(p *nn.Params, trainable func(string) bool) int64 {
		n := int64(0)
		for _, e := range p.All() {
			if !e.Buffer && trainable(e.Name) {
				n += e.Tensor.Elements()
			}
		}
		return n
	}
	onEngine(t, func(s *torch.Scope) {
		blank := func() *nn.Params { return nn.NewParams(s, nn.Options{Blank: true}) }
		late, early := NewLate(cfg, blank()), NewEarlyFinetuned(cfg, blank())
		for name, n := range map[string][2]int64{
			"TextNet":                   {NewTextNet(cfg, blank()).Params().Count(), 109_957_648},
			"VideoNet":                  {NewVideoNet(cfg, blank()).Params().Count(), 185_314_576},
			"Late":                      {late.Params().Count(), 296_126_240},
			"Late, finetuned":           {trained(late.Params(), late.Trainable), 854_016},
			"Early":                     {NewEarly(cfg, blank()).Params().Count(), 178_560_016},
			"EarlyFinetuned":            {early.Params().Count(), 181_317_392},
			"EarlyFinetuned, finetuned": {trained(early.Params(), early.Trainable), 62_497_792},
		} {
			if n[0] != n[1] {
				t.Errorf("%s: %d parameters, published %d", name, n[0], n[1])
			}
		}
	})
}

// A step of every network in training mode reaches exactly the parameters that
// are meant to learn.
func TestGradientsReachWhatIsTrained(t *testing.T) {
	cfg := preset(t, "tiny")
	b := collate(t, collator(t, cfg, false), videos(cfg, 4, video.F16)...)
	unused := func(name string) bool { // registered for the checkpoints' sake
		return strings.Contains(name, "pooler.") || strings.Contains(name, "multi_bert.embeddings.word_embeddings")
	}
	onEngine(t, func(s *torch.Scope) {
		in := NewInputs(s, b, torch.CPU, torch.Float32)
		check := func(name string, p *nn.Params, trainable func(string) bool, forward func() torch.Tensor) {
			t.Helper()
			p.SetTrainable(trainable)
			p.SetTraining(true)
			torch.SumAll(s, torch.Pow(s, forward(), 2)).Backward()
			for _, e := range p.All() {
				want := !e.Buffer && trainable(e.Name) && !unused(e.Name)
				if got := torch.Grad(s, e.Tensor).Defined(); got != want {
					t.Errorf("%s, %s: gradient %v, want %v", name, e.Name, got, want)
				}
			}
		}
		all := func(string) bool { return true }
		text := NewTextNet(cfg, nn.NewParams(s, nn.Options{}))
		check("text", text.Params(), all, func() torch.Tensor { return text.Logits(s, text.Forward(s, in)) })
		frames := NewVideoNet(cfg, nn.NewParams(s, nn.Options{}))
		check("video", frames.Params(), all, func() torch.Tensor { return frames.Logits(s, frames.Forward(s, in)) })
		early := NewEarly(cfg, nn.NewParams(s, nn.Options{}))
		check("early", early.Params(), all, func() torch.Tensor { return early.Logits(s, early.Forward(s, in)) })
		late := NewLate(cfg, nn.NewParams(s, nn.Options{}))
		check("late", late.Params(), late.Trainable, func() torch.Tensor { return late.Forward(s, in).Embedding })
		tuned := NewEarlyFinetuned(cfg, nn.NewParams(s, nn.Options{}))
		check("early finetuned", tuned.Params(), tuned.Trainable, func() torch.Tensor { return tuned.Forward(s, in).Embedding })
	})
}
