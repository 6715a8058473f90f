package trainer

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/text"
	"videosim/shared/torch"
	"videosim/shared/video"
)

const (
	// minilm is all-MiniLM-L6-v2, which deploy/setup.sh puts there.
	minilm = "../.deps/minilm"
	// tinyBERT is one small network in many forms.
	tinyBERT = "../shared/bundle/checkpoint/testdata/tiny"
)

// hiddenGate is the largest difference to the library transformers, absolute:
// its hidden states lie between -5 and 5.
const hiddenGate = 1e-4

// hiddenStates is what transformers makes of 200 texts (testdata/import/hidden_states.py).
type hiddenStates struct {
	Tokens int
	Texts  []string
	IDs    [][]int64
	values []float32 // (texts, 3, width): position 0, the last position, the mean
	width  int
}

func readHiddenStates(t *testing.T) hiddenStates {
	t.Helper()
	var h hiddenStates
	data, err := os.ReadFile("testdata/import/hidden_states.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &h); err != nil {
		t.Fatal(err)
	}
	tensors, err := bundle.ReadSafetensors("testdata/import/hidden_states.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if h.values, err = tensors[0].Float32s(); err != nil {
		t.Fatal(err)
	}
	if h.width = int(tensors[0].Shape[2]); len(h.Texts) != 200 || len(h.values) != 200*3*h.width {
		t.Fatalf("%d texts with %d values, expected 200", len(h.Texts), len(h.values))
	}
	return h
}

// row is one of the three kept states of a text.
func (h hiddenStates) row(text, which int) []float32 {
	at := (3*text + which) * h.width
	return h.values[at : at+h.width]
}

// A real checkpoint through `trainer import`: in the bundle the tokenizer gives
// the library's ids, and the text encoders of both models its hidden states.
func TestImportMiniLM(t *testing.T) {
	if _, err := os.Stat(filepath.Join(minilm, "model.safetensors")); err != nil {
		t.Fatalf("%v (deploy/setup.sh downloads it)", err)
	}
	want := readHiddenStates(t)
	dir := filepath.Join(t.TempDir(), "bundle")
	made, err := Import(context.Background(), ImportConfig{HF: minilm, Out: dir, Preset: "tiny", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if m := made.Model; m.Text.Layers != 6 || m.Text.Hidden != 384 || m.Text.Vocab != 30522 || m.Cross.Intermediate != 1536 {
		t.Errorf("the bundle's model is %+v", m)
	}
	e, err := openEmbedder(dir, EngineConfig{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	tokenizer := bundleTokenizer(t, b)
	rows := make([][]int64, len(want.Texts))
	for i, s := range want.Texts {
		row := tokenizer.Pair(s, "", false, 1<<20)
		if !slices.Equal(row.IDs, want.IDs[i]) {
			t.Errorf("%q: ids %v, want %v", s, row.IDs, want.IDs[i])
		}
		rows[i] = row.IDs[:min(len(row.IDs), want.Tokens)]
	}
	t.Run("all positions", func(t *testing.T) {
		for name, prefix := range map[string]string{bundle.Late: lateEncoder, bundle.Early: earlyEncoder} {
			checkEncoder(t, e.engine, b, name, prefix, rows, want)
		}
	})
	t.Run("as the models run", func(t *testing.T) { checkTowers(t, e, want) })
	t.Run("in lower precisions", func(t *testing.T) { checkPrecisions(t, b, rows, want) })
}

func bundleTokenizer(t *testing.T, b *bundle.Bundle) *text.Tokenizer {
	t.Helper()
	cfg, err := model.ParseConfig(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	vocab, err := b.Vocab()
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := text.New(vocab, cfg.TextOptions())
	if err != nil {
		t.Fatal(err)
	}
	return tokenizer
}

// checkEncoder compares the encoder that lies under prefix, text by text.
func checkEncoder(t *testing.T, engine *torch.Engine, b *bundle.Bundle, name, prefix string, rows [][]int64, want hiddenStates) {
	t.Helper()
	err := engine.Do(context.Background(), func(s *torch.Scope) error {
		p := nn.NewParams(s, nn.Options{Blank: true})
		bert := loadEncoder(t, p, b, name, prefix)
		torch.NoGrad(func() {
			for i, ids := range rows {
				states := encode(s, bert, ids)
				for which, got := range keep(states, len(ids), want.width) {
					closeTo(t, name, want.Texts[i], got, want.row(i, which))
				}
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// loadEncoder makes the encoder that lies under prefix in a model of b.
func loadEncoder(t *testing.T, p *nn.Params, b *bundle.Bundle, name, prefix string) *nn.BERT {
	t.Helper()
	cfg, err := model.ParseConfig(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	file, err := b.Tensors(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var tensors []bundle.NamedTensor
	for _, x := range file.All() {
		if rest, ok := strings.CutPrefix(x.Name, prefix); ok {
			x.Name = rest
			tensors = append(tensors, x)
		}
	}
	c := cfg.Text
	bert := nn.NewBERT(p.Root(), nn.BERTConfig{
		Vocab: c.Vocab, Hidden: c.Hidden, Layers: c.Layers, Heads: c.Heads, Intermediate: c.Intermediate,
		MaxPosition: c.MaxPosition, TypeVocab: c.TypeVocab, LayerNormEps: c.LayerNormEps,
	})
	if err := p.Load(tensors); err != nil {
		t.Fatal(err)
	}
	return bert
}

// encode returns the states of one text, all positions one after the other.
func encode(s *torch.Scope, bert *nn.BERT, ids []int64) []float32 {
	inner := torch.NewScope()
	defer inner.Close()
	n := int64(len(ids))
	tokens := torch.FromInt64s(inner, ids, 1, n)
	types := torch.Zeros(inner, torch.Int64, tokens.Device(), 1, n)
	ones := torch.Full(inner, 1, torch.Int64, tokens.Device(), 1, n)
	places := torch.Arange(inner, n, tokens.Device())
	return bert.Encode(inner, bert.Words(inner, tokens), types, places, nn.AttentionMask(inner, ones, torch.Float32)).Float32s()
}

// keep reduces states as the fixture does.
func keep(states []float32, n, width int) [3][]float32 {
	mean := make([]float32, width)
	for i := range mean {
		sum := 0.0
		for k := range n {
			sum += float64(states[k*width+i])
		}
		mean[i] = float32(sum / float64(n))
	}
	return [3][]float32{states[:width], states[(n-1)*width:], mean}
}

func closeTo(t *testing.T, name, of string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s, %.40q: %d values, want %d", name, of, len(got), len(want))
	}
	for i := range want {
		if d := got[i] - want[i]; !(d <= hiddenGate && d >= -hiddenGate) {
			t.Errorf("%s, %.40q: value %d is %v, want %v", name, of, i, got[i], want[i])
			return
		}
	}
}

// checkTowers runs the networks themselves on batches of videos: position 0 of
// late fusion's text encoder, and of early fusion's behind its norm, which
// begins as that of plain numbers. Early fusion reads 32 tokens, so only the
// titles that fit are compared there.
func checkTowers(t *testing.T, e *embedder, want hiddenStates) {
	t.Helper()
	cfg := e.ensemble.Config
	for start := 0; start < len(want.Texts); start += 25 {
		var videos []video.Video
		for _, title := range want.Texts[start:min(start+25, len(want.Texts))] {
			videos = append(videos, video.Video{ID: "v", Title: title})
		}
		batch, err := e.collator.Collate(videos)
		if err != nil {
			t.Fatal(err)
		}
		err = e.engine.Do(context.Background(), func(s *torch.Scope) error {
			torch.NoGrad(func() {
				in := model.NewInputs(s, batch, e.engine.Device(), torch.Float32)
				late := e.ensemble.Late.Text.Forward(s, in).Float32s()
				early := nn.First(s, e.ensemble.Early.Encoder.Towers(s, in).Text).Float32s()
				for i := range videos {
					row := want.row(start+i, 0)
					closeTo(t, "late", videos[i].Title, late[i*want.width:(i+1)*want.width], row)
					if len(want.IDs[start+i]) <= cfg.EarlyTokens {
						closeTo(t, "early", videos[i].Title, early[i*want.width:(i+1)*want.width], normalised(s, row))
					}
				}
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// checkPrecisions compares what stands for a text, position 0, in the lower
// precisions with the library's fp32. Trained weights have the few large values
// that 8 bits suffer from and new ones lack: int8 comes to 0.9899 at the worst
// of the texts and 0.9967 at the median, bf16 to 0.9999 and 0.99997. The gates
// are a little below.
func checkPrecisions(t *testing.T, b *bundle.Bundle, rows [][]int64, want hiddenStates) {
	t.Helper()
	for precision, gate := range map[string]struct{ worst, median float64 }{
		"bf16": {0.999, 0.9999}, "int8": {0.985, 0.995},
	} {
		engine, err := torch.Start(torch.EngineConfig{Device: "cpu", Precision: precision})
		if precision == "int8" && errs.FieldOf(err) == "precision" {
			continue // a CPU without the instructions
		}
		if err != nil {
			t.Fatal(err)
		}
		var cosines []float64
		for i, state := range servedStates(t, engine, b, rows) {
			cosines = append(cosines, eval.Cosine(state, want.row(i, 0)))
		}
		engine.Close()
		slices.Sort(cosines)
		worst, median := cosines[0], cosines[len(cosines)/2]
		t.Logf("%s: cosine to fp32 %.6f at the worst, %.6f at the median of %d texts", precision, worst, median, len(cosines))
		if !(worst >= gate.worst && median >= gate.median) {
			t.Errorf("%s: cosine to fp32 %.6f at the worst, %.6f at the median, expected %v and %v", precision, worst, median, gate.worst, gate.median)
		}
	}
}

// servedStates are the states at position 0 as the embedder computes them: from
// packed or quantised weights, all texts one after another, without padding.
func servedStates(t *testing.T, engine *torch.Engine, b *bundle.Bundle, rows [][]int64) (states [][]float32) {
	t.Helper()
	var tokens, places, first []int64
	var runs nn.Packing
	for _, ids := range rows {
		first = append(first, int64(len(tokens)))
		runs = append(runs, nn.Run{Videos: 1, Length: int64(len(ids))})
		tokens = append(tokens, ids...)
		for i := range ids {
			places = append(places, int64(i))
		}
	}
	err := engine.Do(context.Background(), func(s *torch.Scope) error {
		p := nn.NewParams(s, nn.Options{DType: engine.DType(), Blank: true})
		bert := loadEncoder(t, p, b, bundle.Late, lateEncoder)
		if engine.Int8() {
			p.Quantise()
		} else if engine.PacksWeights() {
			p.Pack()
		}
		torch.NoGrad(func() {
			n := int64(len(tokens))
			words := bert.Words(s, torch.FromInt64s(s, tokens, n))
			types := torch.Zeros(s, torch.Int64, engine.Device(), n)
			x := bert.EncodePacked(s, words, types, torch.FromInt64s(s, places, n), torch.FromInt64s(s, first, int64(len(first))), runs)
			for state := range slices.Chunk(torch.AsType(s, x, torch.Float32).Float32s(), int(x.Size(1))) {
				states = append(states, state)
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return states
}

// normalised is a LayerNorm with weight 1 and bias 0.
func normalised(s *torch.Scope, row []float32) []float32 {
	n := int64(len(row))
	x := torch.FromFloat32s(s, row, 1, n)
	one, zero := torch.Full(s, 1, torch.Float32, x.Device(), n), torch.Zeros(s, torch.Float32, x.Device(), n)
	return torch.LayerNorm(s, x, one, zero, nn.DefaultEps).Float32s()
}

// Everything that the folder decides is in the bundle, what it leaves open is
// the preset's, and the rest of the weights depends on the seed alone.
func TestImportAroundAnEncoder(t *testing.T) {
	cfg := ImportConfig{HF: filepath.Join(tinyBERT, "tokenizer_json"), Preset: "tiny", FrameDim: 10, Tags: 7, Seed: 3}
	made := map[string]Imported{}
	dir := t.TempDir()
	for name, change := range map[string]func(*ImportConfig){
		"first":     func(*ImportConfig) {},
		"again":     func(*ImportConfig) {},
		"other":     func(c *ImportConfig) { c.Seed = 4 },
		"pad last":  func(c *ImportConfig) { c.HF = withPadLast(t) },
		"no pooler": func(c *ImportConfig) { c.HF = filepath.Join(tinyBERT, "prefix_and_head") },
	} {
		c := cfg
		c.Out = filepath.Join(dir, name)
		change(&c)
		var err error
		if made[name], err = Import(context.Background(), c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if made["first"].Fingerprint != made["again"].Fingerprint || made["first"].Fingerprint == made["other"].Fingerprint {
		t.Errorf("fingerprints %s, again %s, of another seed %s", made["first"].Fingerprint, made["again"].Fingerprint, made["other"].Fingerprint)
	}
	m := made["first"].Model
	want := model.TextConfig{Vocab: 52, Hidden: 9, Layers: 2, Heads: 3, Intermediate: 14, MaxPosition: 40, TypeVocab: 2, LayerNormEps: 1e-12, Dropout: 0.1}
	if m.Text != want {
		t.Errorf("text encoder %+v, want %+v", m.Text, want)
	}
	if a, b := m.Text.PadToken, made["pad last"].Model.Text.PadToken; a != 0 || b != 51 {
		t.Errorf("padding is token %d, and %d in a vocabulary that has it last: want 0 and 51", a, b)
	}
	// 40 positions hold neither 64 tokens nor 32 tokens and 32 frames
	if m.LateTokens != 40 || m.EarlyTokens != 32 || m.Cross.MaxPosition != 64 || m.Cross.Heads != 3 {
		t.Errorf("late %d, early %d tokens, %+v", m.LateTokens, m.EarlyTokens, m.Cross)
	}
	if !m.Tokenizer.Cased || m.Tokenizer.Accents != "" || m.LiteralSpecialTokens != text.LiteralIDs || m.AttendPaddingFrames || m.Video.FrameDim != 10 || m.Tags != 7 {
		t.Errorf("settings %+v", m)
	}
	e, err := openEmbedder(filepath.Join(dir, "no pooler"), EngineConfig{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if notes := made["no pooler"].Notes; len(notes) != 2 || !strings.HasPrefix(notes[0], "no pooler") {
		t.Errorf("notes %q", notes)
	}
}

func TestImportTakesSizesFromData(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	corpus, err := video.SynthPreset("tiny", 40, 20, 1)
	if err != nil {
		t.Fatal(err)
	}
	corpus.FrameDim, corpus.Tags = 24, 300
	if err := video.Synthesize(data, corpus, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	made, err := Import(context.Background(), ImportConfig{HF: filepath.Join(tinyBERT, "bin"), Out: filepath.Join(t.TempDir(), "b"), Preset: "tiny", Data: data})
	if err != nil {
		t.Fatal(err)
	}
	if m := made.Model; m.Video.FrameDim != corpus.FrameDim || m.Tags != corpus.Tags {
		t.Errorf("frames of %d, %d tags, want %d, %d as in the data", m.Video.FrameDim, m.Tags, corpus.FrameDim, corpus.Tags)
	}
}

func TestImportRefuses(t *testing.T) {
	hf := filepath.Join(tinyBERT, "bin")
	for name, c := range map[string]struct {
		cfg   ImportConfig
		field string
	}{
		"nothing":          {ImportConfig{Out: "x"}, "hf"},
		"both":             {ImportConfig{Out: "x", HF: hf, Late: "l"}, "hf"},
		"no early":         {ImportConfig{Out: "x", Late: "l"}, "early"},
		"no late":          {ImportConfig{Out: "x", Early: "e"}, "late"},
		"no out":           {ImportConfig{HF: hf}, "out"},
		"data with late":   {ImportConfig{Out: "x", Late: "l", Early: "e", Data: "d"}, "labels"},
		"labels with hf":   {ImportConfig{Out: "x", HF: hf, Labels: "l", Data: "d"}, "labels"},
		"vocab with hf":    {ImportConfig{Out: "x", HF: hf, Vocab: "v"}, "vocab"},
		"negative width":   {ImportConfig{Out: "x", HF: hf, FrameDim: -1}, "frame-dim"},
		"cross heads":      {ImportConfig{Out: filepath.Join(t.TempDir(), "x"), HF: hf, CrossHeads: 4}, "cross.heads"},
		"vocab of no bert": {ImportConfig{Out: filepath.Join(t.TempDir(), "x"), HF: withoutCLS(t)}, "vocabulary"},
	} {
		if _, err := Import(context.Background(), c.cfg); errs.KindOf(err) != errs.Invalid || errs.FieldOf(err) != c.field {
			t.Errorf("%s: got %v, want Invalid with field %s", name, err, c.field)
		}
	}
}

// withoutCLS is a folder whose vocabulary lacks a special token.
func withoutCLS(t *testing.T) string {
	return withVocab(t, func(vocab string) string { return strings.Replace(vocab, "[CLS]", "cls", 1) })
}

// withPadLast is a folder whose vocabulary has [PAD] in its last line.
func withPadLast(t *testing.T) string {
	return withVocab(t, func(vocab string) string {
		return strings.Replace(vocab, "[PAD]", "first", 1) + "one\ntwo\n[PAD]\n"
	})
}

func withVocab(t *testing.T, change func(string) string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(tinyBERT, "safetensors"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "vocab.txt")
	vocab, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(vocab))), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
