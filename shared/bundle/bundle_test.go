package bundle_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/eval"
)

func contents(seed float32) bundle.Contents {
	return bundle.Contents{
		Config: json.RawMessage(`{"embedding":2}`),
		Vocab:  []byte("[PAD]\n[UNK]\n"),
		Late: []bundle.NamedTensor{
			bundle.Float32Tensor("b.weight", []float32{seed, 2, 3, 4, 5, 6}, 2, 3),
			{Name: "a.steps", DType: "I64", Data: []byte{7, 0, 0, 0, 0, 0, 0, 0}},
		},
		Early: []bundle.NamedTensor{bundle.Float32Tensor("w", []float32{1}, 1)},
		Manifest: bundle.Manifest{
			Preset: "tiny", EmbeddingDim: 2, FrameDim: 4, DataDigest: "d1",
			Metrics:     map[string]float64{"spearman": 0.5, "undefined": math.NaN()},
			Calibration: eval.FitCalibration([]float64{0, 0.5, 0.9}, []float64{0, 0.5, 1}),
		},
	}
}

func TestWriteAndOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "models", "bundle") // the parent is made too
	before := time.Now().Add(-2 * time.Second)
	fingerprint, err := bundle.Write(dir, contents(1))
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := b.Manifest
	if m.Fingerprint != fingerprint || m.FormatVersion != bundle.FormatVersion || m.Preset != "tiny" || m.CreatedAt.Before(before) {
		t.Errorf("manifest %+v", m)
	}
	if _, there := m.Metrics["undefined"]; there || m.Metrics["spearman"] != 0.5 {
		t.Errorf("metrics %v", m.Metrics)
	}
	if m.Calibration.Score(0.5) != 0.5 {
		t.Errorf("calibration %v", m.Calibration)
	}
	vocab, err := b.Vocab()
	if err != nil || string(vocab) != "[PAD]\n[UNK]\n" || string(b.Config) != `{"embedding":2}` {
		t.Errorf("vocabulary %q, config %s, %v", vocab, b.Config, err)
	}
	late, err := b.Tensors(bundle.Late)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	weight, ok := late.Tensor("b.weight")
	values, err := weight.Float32s()
	if !ok || err != nil || !slices.Equal(values, []float32{1, 2, 3, 4, 5, 6}) || !slices.Equal(weight.Shape, []int64{2, 3}) {
		t.Errorf("%v %v %v %v", ok, err, weight.Shape, values)
	}
	if _, err := b.Tensors("middle"); errs.KindOf(err) != errs.Invalid {
		t.Errorf("unknown model: %v", err)
	}
	noLeftovers(t, dir)
}

// TestFingerprintIsWhatTheShellSays holds the documented command.
func TestFingerprintIsWhatTheShellSays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	fingerprint, err := bundle.Write(dir, contents(1))
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	for _, name := range []string{"config.json", "late.safetensors", "early.safetensors", "vocab.txt"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		hash.Write(data)
	}
	if want := hex.EncodeToString(hash.Sum(nil))[:12]; fingerprint != want {
		t.Errorf("got %s, want %s", fingerprint, want)
	}
}

// TestFingerprintNamesTheModel: the order in which tensors are handed over,
// time and metrics do not matter; one weight, setting or token does.
func TestFingerprintNamesTheModel(t *testing.T) {
	write := func(c bundle.Contents) string {
		t.Helper()
		fingerprint, err := bundle.Write(filepath.Join(t.TempDir(), "b"), c)
		if err != nil {
			t.Fatal(err)
		}
		return fingerprint
	}
	first := write(contents(1))
	same := contents(1)
	slices.Reverse(same.Late)
	same.Manifest.Metrics, same.Manifest.CreatedAt = nil, time.Unix(0, 0)
	if got := write(same); got != first {
		t.Errorf("the same model: %s and %s", first, got)
	}
	token, setting := contents(1), contents(1)
	token.Vocab = []byte("[PAD]\n[MASK]\n")
	setting.Config = json.RawMessage(`{"embedding":3}`)
	seen := map[string]bool{first: true}
	for name, c := range map[string]bundle.Contents{"weight": contents(1.5), "token": token, "setting": setting} {
		got := write(c)
		if seen[got] {
			t.Errorf("another %s, but a fingerprint seen before", name)
		}
		seen[got] = true
	}
}

func TestReplaceABundle(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	if err := os.Mkdir(dir, 0o755); err != nil { // an empty folder may be filled
		t.Fatal(err)
	}
	var fingerprints []string
	for seed := range 3 {
		fingerprint, err := bundle.Write(dir, contents(float32(seed)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := bundle.Open(dir)
		if err != nil || b.Manifest.Fingerprint != fingerprint {
			t.Fatalf("after write %d: %v", seed, err)
		}
		fingerprints = append(fingerprints, fingerprint)
	}
	if slices.Sort(fingerprints); len(slices.Compact(fingerprints)) != 3 {
		t.Error("three models share a fingerprint")
	}
	noLeftovers(t, dir)
}

// TestReadersDuringReplacement: whoever opens the folder while it is being
// replaced sees a whole bundle, or a moment later does.
func TestReadersDuringReplacement(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	if _, err := bundle.Write(dir, contents(0)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for seed := range 30 {
			if _, err := bundle.Write(dir, contents(float32(seed))); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
			t.Fatalf("the bundle was gone: %v", err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

// TestOpenFileSurvivesReplacement: weights that are being loaded stay.
func TestOpenFileSurvivesReplacement(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	if _, err := bundle.Write(dir, contents(1)); err != nil {
		t.Fatal(err)
	}
	late, err := bundle.OpenSafetensors(filepath.Join(dir, "late.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if _, err := bundle.Write(dir, contents(9)); err != nil {
		t.Fatal(err)
	}
	weight, _ := late.Tensor("b.weight")
	if values, err := weight.Float32s(); err != nil || values[0] != 1 {
		t.Errorf("%v %v", values, err)
	}
}

func TestWriteRefuses(t *testing.T) {
	scalar, twice, short := contents(1), contents(1), contents(1)
	scalar.Late[0].Shape = []int64{4, 4}
	twice.Late[1].Name = "b.weight"
	short.Early[0].DType = "F12"
	config, vocab, dim := contents(1), contents(1), contents(1)
	config.Config = json.RawMessage("{")
	vocab.Vocab = nil
	dim.Manifest.FrameDim = 0
	for name, c := range map[string]struct {
		contents bundle.Contents
		message  string
	}{
		"shape":      {scalar, `tensor "b.weight": F32 [4 4] needs 64 bytes, found 24`},
		"same name":  {twice, `"b.weight"`},
		"dtype":      {short, `found "F12"`},
		"config":     {config, "config.json: expected JSON"},
		"vocabulary": {vocab, "the vocabulary is empty"},
		"frame dim":  {dim, "frame_dim: expected a positive number, found 0"},
	} {
		dir := filepath.Join(t.TempDir(), "b")
		_, err := bundle.Write(dir, c.contents)
		if err == nil || errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was left in place: %v", name, err)
		}
		noLeftovers(t, dir)
	}
}

func TestWriteSparesOtherFolders(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "thesis.doc")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{dir, precious} {
		if _, err := bundle.Write(target, contents(1)); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v", target, err)
		}
	}
	if data, err := os.ReadFile(precious); err != nil || string(data) != "x" {
		t.Errorf("%q %v", data, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(dir string) error
		kind    errs.Kind
		message string
	}{
		"no folder":     {os.RemoveAll, errs.NotFound, "is no bundle"},
		"no manifest":   {remove("manifest.json"), errs.NotFound, "is no bundle"},
		"no weights":    {remove("early.safetensors"), errs.Corrupt, "early.safetensors"},
		"no vocabulary": {remove("vocab.txt"), errs.Corrupt, "vocab.txt"},
		"flipped bit":   {flipLast("late.safetensors"), errs.Corrupt, "its files have fingerprint"},
		"cut off":       {cut("late.safetensors"), errs.Corrupt, "its files have fingerprint"},
		"other version": {edit("manifest.json", `"format_version": 1`, `"format_version": 2`), errs.Corrupt, "format_version: expected 1, found 2"},
		"unknown field": {edit("manifest.json", `"preset"`, `"presets"`), errs.Corrupt, `"presets"`},
		"no JSON":       {edit("manifest.json", `{`, `[`), errs.Corrupt, "manifest.json"},
		"fingerprint":   {edit("manifest.json", `"fingerprint": "`, `"fingerprint": "g`), errs.Corrupt, "fingerprint: expected 12 hex digits, found"},
		"dimension":     {edit("manifest.json", `"embedding_dim": 2`, `"embedding_dim": -2`), errs.Corrupt, "embedding_dim: expected a positive number, found -2"},
		"huge manifest": {grow("manifest.json", 2<<20), errs.Corrupt, "expected at most 1048576 bytes"},
	} {
		dir := filepath.Join(t.TempDir(), "b")
		if _, err := bundle.Write(dir, contents(1)); err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		_, err := bundle.Open(dir)
		if err == nil || errs.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: kind %v, %v; want kind %v, ...%q...", name, errs.KindOf(err), err, c.kind, c.message)
		}
	}
}

func remove(name string) func(string) error {
	return func(dir string) error { return os.Remove(filepath.Join(dir, name)) }
}

func cut(name string) func(string) error {
	return func(dir string) error { return os.Truncate(filepath.Join(dir, name), 20) }
}

func grow(name string, size int64) func(string) error {
	return func(dir string) error { return os.Truncate(filepath.Join(dir, name), size) }
}

func flipLast(name string) func(string) error {
	return func(dir string) error {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		data[len(data)-1] ^= 1
		return os.WriteFile(filepath.Join(dir, name), data, 0o600)
	}
}

func edit(name, old, new string) func(string) error {
	return func(dir string) error {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(string(data), old, new, 1)), 0o600)
	}
}

// noLeftovers: the parent holds nothing but dir.
func noLeftovers(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(dir) {
			t.Errorf("left over: %s", e.Name())
		}
	}
}
