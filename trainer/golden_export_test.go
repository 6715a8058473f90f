package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"videosim/shared/bundle"
	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/testkit"
)

// The path of `trainer export`, from the published weights in a bundle and the
// published TFRecord to the three files of the published pipeline.
func TestGoldenExport(t *testing.T) {
	dir := goldenBundle(t)
	e, err := openEmbedder(dir, EngineConfig{Device: "cpu", Batch: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	records := []string{filepath.Join(testkit.GoldenDir(t), "e2e", "e2e.tfrecords")}
	rows, err := embedFiles(context.Background(), e, records)
	if err != nil {
		t.Fatal(err)
	}
	sameResult(t, "e2e/model1.json", resultFile(t, rows.ids, rows.late))
	sameResult(t, "e2e/model2.json", resultFile(t, rows.ids, rows.early))

	out := filepath.Join(t.TempDir(), "result.json")
	n, err := Export(context.Background(), ExportConfig{Bundle: dir, Data: records, Out: out, Engine: EngineConfig{Device: "cpu", Batch: 64}})
	if err != nil {
		t.Fatal(err)
	}
	if n != len(rows.ids) {
		t.Errorf("exported %d videos, want %d", n, len(rows.ids))
	}
	written, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	sameResult(t, "e2e/result.json", written)
}

// goldenBundle writes the published weights of both models as a bundle.
func goldenBundle(t *testing.T) string {
	t.Helper()
	m := testkit.ReadManifest(t)
	const late, early = "e2e/simnet13.safetensors", "e2e/multibert_simnet.safetensors"
	cfg := goldenConfig(t, m.File(t, late).Sizes)
	if other := goldenConfig(t, m.File(t, early).Sizes); other != cfg {
		t.Fatalf("the two models of e2e/ differ in their sizes: %+v and %+v", cfg, other)
	}
	dir := filepath.Join(t.TempDir(), "bundle")
	writeTestBundle(t, dir, cfg, weightsOf(t, late), weightsOf(t, early))
	return dir
}

func writeTestBundle(t *testing.T, dir string, cfg model.Config, late, early []bundle.NamedTensor) {
	t.Helper()
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = bundle.Write(dir, bundle.Contents{
		Config: config, Vocab: testkit.GoldenFile(t, "vocab.txt"), Late: late, Early: early,
		Manifest: bundle.Manifest{EmbeddingDim: cfg.Embedding, FrameDim: cfg.Video.FrameDim},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func weightsOf(t *testing.T, file string) []bundle.NamedTensor {
	t.Helper()
	var out []bundle.NamedTensor
	for _, w := range testkit.Fixture(t, file).Under("weights/") {
		out = append(out, w.Stored())
	}
	return out
}

func resultFile(t *testing.T, ids []string, rows [][]float64) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := eval.WriteResult(&b, ids, rows); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sameResult compares a result file with a published one: the same ids in the
// same order, every number within one step of half precision, and what is
// equal in value spelled the same.
func sameResult(t *testing.T, name string, got []byte) {
	t.Helper()
	want := testkit.GoldenFile(t, name)
	if bytes.Equal(got, bytes.TrimSpace(want)) {
		return
	}
	gotIDs, gotRows := readResult(t, got)
	wantIDs, wantRows := readResult(t, want)
	if !slices.Equal(gotIDs, wantIDs) {
		t.Fatalf("%s: ids %v, want %v", name, gotIDs, wantIDs)
	}
	for i, row := range wantRows {
		if len(gotRows[i]) != len(row) {
			t.Fatalf("%s, %s: %d numbers, want %d", name, wantIDs[i], len(gotRows[i]), len(row))
		}
		for j, v := range row {
			if math.Abs(gotRows[i][j]-v) > halfStep(v) {
				t.Errorf("%s, %s[%d]: got %v, want %v", name, wantIDs[i], j, gotRows[i][j], v)
			}
		}
	}
}

// halfStep is the distance from v to the next half-precision number outward.
func halfStep(v float64) float64 {
	_, exponent := math.Frexp(v)
	return math.Ldexp(1, max(exponent-1, -14)-10)
}

// readResult decodes a result file in its order.
func readResult(t *testing.T, data []byte) (ids []string, rows [][]float64) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		id, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var row []float64
		if err := dec.Decode(&row); err != nil {
			t.Fatal(err)
		}
		ids, rows = append(ids, id.(string)), append(rows, row)
	}
	return ids, rows
}
