package video_test

import (
	"crypto/sha256"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/video"
)

// corpus is a synthetic folder read back.
type corpus struct {
	videos []video.Video
	pairs  [][2]string
	labels []float64
	tags   *video.TagList
	judged int // videos in pairwise/
}

func synthesize(t testing.TB, cfg video.SynthConfig) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "corpus")
	if err := video.Synthesize(dir, cfg, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func readCorpus(t testing.TB, dir string) corpus {
	t.Helper()
	f, err := video.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := corpus{tags: f.Tags, judged: f.Pairwise.Len()}
	for _, set := range []*video.Set{f.Pairwise, f.Pointwise} {
		for i := range set.Len() {
			v, err := set.Video(i)
			if err != nil {
				t.Fatal(err)
			}
			c.videos = append(c.videos, v)
		}
	}
	content, err := os.ReadFile(f.LabelsPath)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		field := strings.Split(strings.TrimSpace(line), "\t")
		label, err := strconv.ParseFloat(field[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		c.pairs = append(c.pairs, [2]string{field[0], field[1]})
		c.labels = append(c.labels, label)
	}
	return c
}

func preset(t testing.TB, name string, videos, pairs int, seed uint64) video.SynthConfig {
	t.Helper()
	cfg, err := video.SynthPreset(name, videos, pairs, seed)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// meanFrame is the plainest embedding: the mean of a video's frames.
func meanFrame(v video.Video) []float32 {
	mean := make([]float32, v.Frames.Dim)
	for i, x := range v.Frames.Float32s() {
		mean[i%v.Frames.Dim] += x / float32(v.Frames.Count)
	}
	return mean
}

// What nobody has learnt must not be plain in the frames, and what is to be
// learnt must be in the labels.
func TestSynthDifficulty(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		cfg := preset(t, "tiny", 3000, 3000, seed)
		c := readCorpus(t, synthesize(t, cfg))
		oracle, err := video.SynthOracle(cfg)
		if err != nil {
			t.Fatal(err)
		}
		means := map[string][]float32{}
		for _, v := range c.videos {
			if v.Frames.Count > 0 {
				means[v.ID] = meanFrame(v)
			}
		}
		var known, raw, rawLabels []float64
		for i, p := range c.pairs {
			known = append(known, oracle[p])
			if a, b := means[p[0]], means[p[1]]; a != nil && b != nil {
				raw, rawLabels = append(raw, eval.Cosine(a, b)), append(rawLabels, c.labels[i])
			}
		}
		if rho := eval.Spearman(raw, rawLabels); !(math.Abs(rho) < 0.35) {
			t.Errorf("seed %d: Spearman of the mean frames' cosine %.3f, want below 0.35", seed, rho)
		}
		if rho := eval.Spearman(known, c.labels); !(rho >= 0.95) {
			t.Errorf("seed %d: Spearman of the latents %.3f, want at least 0.95", seed, rho)
		}
	}
}

func TestSynthIsReproducible(t *testing.T) {
	cfg := preset(t, "tiny", 200, 150, 7)
	cfg.LabelNoise = 0.1
	first := digests(t, synthesize(t, cfg))
	if len(first) != 4 {
		t.Errorf("files %v", first)
	}
	before := runtime.GOMAXPROCS(1)
	second := digests(t, synthesize(t, cfg))
	runtime.GOMAXPROCS(before)
	if !reflect.DeepEqual(first, second) {
		t.Error("the same seed gave other bytes on one core")
	}
	cfg.Seed++
	for name, sum := range digests(t, synthesize(t, cfg)) {
		if first[name] == sum {
			t.Errorf("%s is the same under another seed", name)
		}
	}
}

func digests(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		out[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSynthLabelNoise(t *testing.T) {
	cfg := preset(t, "tiny", 500, 500, 3)
	sure := readCorpus(t, synthesize(t, cfg))
	cfg.LabelNoise = 0.2
	unsure := readCorpus(t, synthesize(t, cfg))
	if !reflect.DeepEqual(sure.pairs, unsure.pairs) {
		t.Fatal("noise changed the pairs")
	}
	rho := eval.Spearman(sure.labels, unsure.labels)
	if !(rho > 0.6 && rho < 0.95) {
		t.Errorf("Spearman between sure and unsure judges %.3f", rho)
	}
}

// Pairs hang together in small components, no pair comes twice, and the sizes
// asked for are met, few or many.
func TestSynthPairs(t *testing.T) {
	for _, n := range []struct{ videos, pairs int }{{3000, 3000}, {300, 40}, {60, 400}, {10, 1}, {5, 0}} {
		cfg := preset(t, "tiny", n.videos, n.pairs, 4)
		cfg.FrameDim = 4
		c := readCorpus(t, synthesize(t, cfg))
		if len(c.videos) != n.videos || len(c.pairs) != n.pairs {
			t.Errorf("%+v: %d videos, %d pairs", n, len(c.videos), len(c.pairs))
		}
		seen := map[[2]string]bool{}
		component := map[string]string{}
		var root func(string) string
		root = func(id string) string {
			if up, ok := component[id]; ok && up != id {
				return root(up)
			}
			component[id] = id
			return id
		}
		for _, p := range c.pairs {
			slices.Sort(p[:])
			if seen[p] || p[0] == p[1] {
				t.Fatalf("%+v: pair %v again, or with itself", n, p)
			}
			seen[p] = true
			component[root(p[0])] = root(p[1])
		}
		if len(component) != c.judged {
			t.Errorf("%+v: %d videos in pairs, %d in pairwise/", n, len(component), c.judged)
		}
		roots := map[string]bool{}
		for id := range component {
			roots[root(id)] = true
		}
		if mean := float64(len(component)) / float64(len(roots)); n.videos == 3000 && (mean < 2.5 || mean > 3.5) {
			t.Errorf("%.2f videos a component, want about 3", mean)
		}
	}
}

func TestSynthProgressAndFolder(t *testing.T) {
	dir := t.TempDir() // exists and is empty: allowed
	cfg := preset(t, "tiny", 120, 60, 1)
	last := 0
	err := video.Synthesize(dir, cfg, func(done, total int) {
		if done <= last || total != cfg.Videos {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	})
	if err != nil {
		t.Fatal(err)
	}
	if last != cfg.Videos {
		t.Errorf("progress ended at %d of %d", last, cfg.Videos)
	}
	if err := video.Synthesize(dir, cfg, nil); errs.FieldOf(err) != "out" {
		t.Errorf("a folder with a corpus was taken: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".synth-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestSynthConfigValidate(t *testing.T) {
	good := preset(t, "tiny", 100, 100, 0)
	for field, change := range map[string]func(*video.SynthConfig){
		"videos":      func(c *video.SynthConfig) { c.Videos = 0 },
		"pairs":       func(c *video.SynthConfig) { c.Pairs = 5000 },
		"tags":        func(c *video.SynthConfig) { c.Tags = 3 },
		"frame_dim":   func(c *video.SynthConfig) { c.FrameDim = -1 },
		"strengths":   func(c *video.SynthConfig) { c.Strengths.Voices = 0 },
		"label_noise": func(c *video.SynthConfig) { c.LabelNoise = math.NaN() },
	} {
		c := good
		change(&c)
		if err := video.Synthesize(t.TempDir(), c, nil); errs.FieldOf(err) != field {
			t.Errorf("%s: error %v", field, err)
		}
	}
	if _, err := video.SynthPreset("huge", 10, 1, 0); errs.FieldOf(err) != "preset" {
		t.Errorf("unknown preset: %v", err)
	}
}

func BenchmarkSynthesizeTiny3000(b *testing.B) {
	cfg := preset(b, "tiny", 3000, 3000, 1)
	for b.Loop() {
		synthesize(b, cfg)
	}
}
