package trainer

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/model"
	"videosim/shared/service"
)

// An imported text encoder, trained on: the new bundle has its vocabulary, its
// tokenizer and its sizes, and the trained one is another than the imported.
func TestTrainFromAnImport(t *testing.T) {
	data := smallCorpus(t, 120, 130)
	start := filepath.Join(t.TempDir(), "start")
	made, err := Import(context.Background(), ImportConfig{HF: filepath.Join(tinyBERT, "tokenizer_json"), Data: data, Preset: "tiny", Out: start})
	if err != nil {
		t.Fatal(err)
	}
	cfg := smallConfig(t, data)
	cfg.From = start
	result, err := Train(context.Background(), cfg, service.NewTestEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	trained, err := bundle.Open(cfg.Out)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.ParseConfig(trained.Config)
	if err != nil {
		t.Fatal(err)
	}
	if m.Tokenizer != made.Model.Tokenizer || !m.Tokenizer.Cased || m.Text.Hidden != 9 || m.Text.Vocab != 52 || m.LateTokens != 40 {
		t.Errorf("the trained bundle's model is %+v", m)
	}
	before, err := bundle.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	vocab, err := trained.Vocab()
	if err != nil {
		t.Fatal(err)
	}
	if want, err := before.Vocab(); err != nil || !bytes.Equal(vocab, want) {
		t.Errorf("%d bytes of vocabulary, want the folder's %d (%v)", len(vocab), len(want), err)
	}
	if result.Fingerprint == made.Fingerprint {
		t.Error("training changed nothing")
	}
}

func TestInspectCheckpoints(t *testing.T) {
	for _, path := range []string{"bin/pytorch_model.bin", "bin_legacy/pytorch_model.bin", "safetensors/model.safetensors"} {
		var out bytes.Buffer
		if err := Inspect(&out, filepath.Join(tinyBERT, path)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, part := range []string{"39 tensors", "encoder.layer.1.output.LayerNorm.bias", "F32", "[52 9]"} {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s: no %q in\n%s", path, part, out.String())
			}
		}
	}
}
