package trainer

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/model"
	"videosim/shared/testkit"
	"videosim/shared/video"
)

const (
	goldenLate  = "e2e/simnet13.safetensors"
	goldenEarly = "e2e/multibert_simnet.safetensors"
)

// publishedCheckpoints writes the golden weights as the published training
// scripts do, with the constants that their release of transformers stored.
func publishedCheckpoints(t *testing.T, late, early testkit.TorchForm) ImportConfig {
	t.Helper()
	dir := t.TempDir()
	sizes := testkit.ReadManifest(t).File(t, goldenLate).Sizes
	cfg := ImportConfig{
		Late: filepath.Join(dir, "simnet.pth"), Early: filepath.Join(dir, "multibert.pt"), Out: filepath.Join(dir, "bundle"),
		Vocab: filepath.Join(testkit.GoldenDir(t), "vocab.txt"),
		Heads: sizes.Int(t, "bert_heads"), VideoHeads: sizes.Int(t, "video_heads"), CrossHeads: sizes.Int(t, "cross_modal_heads"),
	}
	testkit.TorchSave(t, cfg.Late, late, append(weightsOf(t, goldenLate), positionIDs("text_model.text_model.")))
	testkit.TorchSave(t, cfg.Early, early, append(weightsOf(t, goldenEarly), positionIDs("bert.text_model."), positionIDs("bert.multi_bert.")))
	return cfg
}

func positionIDs(prefix string) bundle.NamedTensor {
	return bundle.NamedTensor{Name: prefix + "embeddings.position_ids", DType: "I64", Shape: []int64{1, 2}, Data: []byte{15: 0, 8: 1}}
}

// The published checkpoints become a bundle that computes what the published
// programs compute, whatever form they were saved in.
func TestGoldenImport(t *testing.T) {
	for name, form := range map[string]testkit.TorchForm{
		"zip": {}, "legacy": {Legacy: true}, "in a dict": {Under: "state_dict"}, "data parallel": {Under: "model", Prefix: "module.", Legacy: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := publishedCheckpoints(t, form, testkit.TorchForm{})
			made, err := Import(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			want := goldenConfig(t, testkit.ReadManifest(t).File(t, goldenLate).Sizes)
			got := made.Model
			got.Text.Dropout, got.Video.Dropout = want.Text.Dropout, want.Video.Dropout // no checkpoint tells
			if got != want {
				t.Errorf("model\n%+v, want\n%+v", got, want)
			}
			late, early := goldenHalves(t, cfg.Out)
			expected := testkit.Fixture(t, "e2e/expected.safetensors")
			testkit.Close(t, "late", late, expected.Of(t, "simnet13_embedding").Float32s(), 1e-5)
			testkit.Close(t, "early", early, expected.Of(t, "multibert_simnet_embedding").Float32s(), 1e-5)
		})
	}
}

// goldenHalves embeds the golden records with a bundle.
func goldenHalves(t *testing.T, dir string) (late, early []float32) {
	t.Helper()
	e, err := openEmbedder(dir, EngineConfig{Device: "cpu", Batch: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	set, err := video.OpenSet(filepath.Join(testkit.GoldenDir(t), "e2e", "e2e.tfrecords"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	err = e.each(context.Background(), set.Len(), set.Video, func(_ []string, h model.Halves) error {
		for i := range h.Late {
			late, early = append(late, h.Late[i]...), append(early, h.Early[i]...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return late, early
}

// With judged pairs the bundle's scores follow the judgements; its fingerprint
// does not depend on them.
func TestGoldenImportCalibrates(t *testing.T) {
	cfg := publishedCheckpoints(t, testkit.TorchForm{}, testkit.TorchForm{})
	plain, err := Import(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Data = t.TempDir()
	if err := os.CopyFS(filepath.Join(cfg.Data, "pairwise"), os.DirFS(filepath.Join(testkit.GoldenDir(t), "e2e"))); err != nil {
		t.Fatal(err)
	}
	ids := goldenIDs(t)
	cfg.Labels = filepath.Join(cfg.Data, "label.tsv")
	labels := ids[0] + "\t" + ids[1] + "\t0.25\n" + ids[1] + "\t" + ids[2] + "\t0.5\n" + ids[0] + "\t" + ids[3] + "\t1\n"
	if err := os.WriteFile(cfg.Labels, []byte(labels), 0o644); err != nil {
		t.Fatal(err)
	}
	made, err := Import(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(cfg.Out)
	if err != nil {
		t.Fatal(err)
	}
	if made.Fingerprint != plain.Fingerprint || b.Manifest.Metrics["calibration_pairs"] != 3 || len(b.Manifest.Calibration.Cosines) < 2 {
		t.Errorf("fingerprints %s and %s, manifest %+v", made.Fingerprint, plain.Fingerprint, b.Manifest)
	}
}

func goldenIDs(t *testing.T) []string {
	t.Helper()
	set, err := video.OpenSet(filepath.Join(testkit.GoldenDir(t), "e2e", "e2e.tfrecords"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	ids := make([]string, set.Len())
	for i := range ids {
		v, err := set.Video(i)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = v.ID
	}
	return ids
}

// What a wrong pair of checkpoints is told.
func TestImportRefusesOtherCheckpoints(t *testing.T) {
	t.Setenv("GOLDEN_DIR", "") // the messages name the sizes of the set in this repository
	for name, c := range map[string]struct {
		spoil func(t *testing.T, cfg *ImportConfig)
		says  []string
	}{
		"exchanged": {
			func(_ *testing.T, cfg *ImportConfig) { cfg.Late, cfg.Early = cfg.Early, cfg.Late },
			[]string{"missing: text_model.text_model.embeddings.word_embeddings.weight [21128 768] (nearest found: bert.text_model.embeddings.word_embeddings.weight [21128 8])", "not expected: bert.cls.bias [10]"},
		},
		"one tensor lost": {
			func(t *testing.T, cfg *ImportConfig) {
				resave(t, cfg.Late, goldenLate, func(x bundle.NamedTensor) bool { return x.Name != "video_embed.bias" })
			},
			[]string{"1 missing: video_embed.bias [8]"},
		},
		"not finetuned": {
			func(t *testing.T, cfg *ImportConfig) {
				resave(t, cfg.Early, goldenEarly, func(x bundle.NamedTensor) bool { return strings.HasPrefix(x.Name, "bert.") })
			},
			[]string{"missing: fusion_gate.fc_avg.0.weight [16 16]", "embed.weight [8 16]"},
		},
		"other tags": {
			func(t *testing.T, cfg *ImportConfig) {
				late := weightsOf(t, goldenLate)
				for i, x := range late {
					if x.Name == "video_model.cls.bias" {
						late[i] = bundle.Float32Tensor(x.Name, make([]float32, 4), 4)
					}
				}
				testkit.TorchSave(t, cfg.Late, testkit.TorchForm{}, late)
			},
			[]string{"1 of another shape: video_model.cls.bias: expected [10], found [4]"},
		},
		"not a number": {
			func(t *testing.T, cfg *ImportConfig) {
				late := weightsOf(t, goldenLate)
				for i, x := range late {
					if x.Name == "video_model.cls.bias" {
						late[i] = bundle.Float32Tensor(x.Name, []float32{0, float32(math.Inf(1)), 0, 0, 0, 0, 0, 0, 0, 0}, 10)
					}
				}
				testkit.TorchSave(t, cfg.Late, testkit.TorchForm{}, late)
			},
			[]string{`tensor "video_model.cls.bias": value 1: expected a finite number, found +Inf`},
		},
		"heads":        {func(_ *testing.T, cfg *ImportConfig) { cfg.Heads = 3 }, []string{"text.heads: expected a divisor of text.hidden 8, found 3"}},
		"video heads":  {func(_ *testing.T, cfg *ImportConfig) { cfg.VideoHeads = 5 }, []string{"video-heads: expected a divisor of the attention's width 8, found 5"}},
		"no such file": {func(_ *testing.T, cfg *ImportConfig) { cfg.Early += "x" }, []string{"multibert.ptx: no such file"}},
		"vocabulary": {
			func(t *testing.T, cfg *ImportConfig) {
				cfg.Vocab = filepath.Join(t.TempDir(), "vocab.txt")
				if err := os.WriteFile(cfg.Vocab, append(testkit.GoldenFile(t, "vocab.txt"), "one more"...), 0o644); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"vocab: expected at most 21128 tokens, as many as the word table has rows, found 21129", "--vocab"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := publishedCheckpoints(t, testkit.TorchForm{}, testkit.TorchForm{})
			c.spoil(t, &cfg)
			_, err := Import(context.Background(), cfg)
			if err == nil || errs.KindOf(err) == errs.Internal {
				t.Fatalf("got %v, want an error of the user's", err)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("message\n%v\nlacks\n%s", err, part)
				}
			}
			if _, err := os.Stat(cfg.Out); err == nil {
				t.Error("a bundle was written all the same")
			}
		})
	}
}

// resave writes the weights of a fixture that keep holds.
func resave(t *testing.T, path, fixture string, keep func(bundle.NamedTensor) bool) {
	t.Helper()
	var kept []bundle.NamedTensor
	for _, x := range weightsOf(t, fixture) {
		if keep(x) {
			kept = append(kept, x)
		}
	}
	testkit.TorchSave(t, path, testkit.TorchForm{}, kept)
}
