package trainer

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/service"
	"videosim/shared/testkit"
)

func TestExportZip(t *testing.T) {
	out := filepath.Join(t.TempDir(), "result.zip")
	n, err := Export(context.Background(), ExportConfig{
		Bundle: goldenBundle(t), Data: []string{filepath.Join(testkit.GoldenDir(t), "e2e", "e2e.tfrecords")}, Out: out,
		Engine: EngineConfig{Device: "cpu", Batch: 64},
	})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.OpenReader(out)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if len(archive.File) != 1 || archive.File[0].Name != "result/result.json" {
		t.Fatalf("the archive holds %v, want result/result.json alone", archive.File)
	}
	f, err := archive.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if ids, rows := readResult(t, data); len(ids) != n || len(rows) != n {
		t.Errorf("%d ids and %d rows, want %d", len(ids), len(rows), n)
	}
}

func TestWriteFileLeavesNothingOfAFailure(t *testing.T) {
	dir := t.TempDir()
	err := writeFile(filepath.Join(dir, "result.json"), func(w io.Writer) error {
		if _, err := io.WriteString(w, "{"); err != nil {
			return err
		}
		return errs.New(errs.Corrupt, "no number")
	})
	if errs.KindOf(err) != errs.Corrupt {
		t.Errorf("err = %v, want kind corrupt", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func gatewayLabels(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "label.tsv")
	if err := os.WriteFile(path, []byte("a\tb\t0.5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEvaluateAsksAGateway(t *testing.T) {
	var body, key string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/evaluations" {
			http.Error(w, "unexpected request", http.StatusTeapot)
		}
		body, key = string(data), r.Header.Get("Authorization")
		io.WriteString(w, `{"spearman":0.75,"pairs":7,"missing":2,"missing_ids":["x"]}`)
	}))
	defer server.Close()
	r, err := Evaluate(context.Background(), EvaluateConfig{Labels: gatewayLabels(t), Gateway: server.URL + "/", APIKey: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if body != "a\tb\t0.5\n" || key != "Bearer secret" {
		t.Errorf("the gateway got %q with %q", body, key)
	}
	if got := Summary(r); got != "spearman=0.7500 pairs=7 missing=2" {
		t.Errorf("summary %q", got)
	}
}

func TestEvaluateUnderstandsWhatAGatewayRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		kind   errs.Kind
		says   string
	}{
		"a problem":       {400, `{"title":"Invalid","detail":"line 3: label"}`, errs.Invalid, "line 3: label"},
		"an overload":     {429, `{"title":"Overloaded","detail":"later"}`, errs.Overloaded, "later"},
		"no problem+json": {503, "gone", errs.Unavailable, "gone"},
		"no gateway":      {200, "<html>", errs.Internal, "answer"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			defer server.Close()
			_, err := Evaluate(context.Background(), EvaluateConfig{Labels: gatewayLabels(t), Gateway: server.URL})
			if errs.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("err = %v (%v), want kind %v and %q", err, errs.KindOf(err), c.kind, c.says)
			}
		})
	}
}

func TestUndefinedSpearmanFromAGateway(t *testing.T) {
	r, err := readEvaluation(strings.NewReader(`{"spearman":null,"pairs":1,"missing":0}`))
	if err != nil || !math.IsNaN(r.Spearman) || r.Pairs != 1 {
		t.Errorf("%+v, %v: want an undefined coefficient of 1 pair", r, err)
	}
}

func TestConfigsRefuseWhatCannotWork(t *testing.T) {
	train := TrainConfig{Data: "d", Out: "o", Preset: "tiny"}
	if err := train.Validate(); err != nil {
		t.Fatalf("a config with nothing but its paths and preset: %v", err)
	}
	for field, change := range map[string]func(*TrainConfig){
		"data":                         func(c *TrainConfig) { c.Data = "" },
		"out":                          func(c *TrainConfig) { c.Out = "" },
		"preset":                       func(c *TrainConfig) { c.Preset = "huge" },
		"held-out":                     func(c *TrainConfig) { c.HeldOut = math.NaN() },
		"threads":                      func(c *TrainConfig) { c.Threads = -1 },
		"loaders":                      func(c *TrainConfig) { c.Loaders = -1 },
		"log-every":                    func(c *TrainConfig) { c.LogEvery = -1 },
		"literal-special-tokens":       func(c *TrainConfig) { c.LiteralSpecialTokens = "maybe" },
		"pretrain-text-learning-rate":  func(c *TrainConfig) { c.PretrainText.LearningRate = math.Inf(1) },
		"pretrain-video-epochs":        func(c *TrainConfig) { c.PretrainVideo.Epochs = -1 },
		"pretrain-cross-batch":         func(c *TrainConfig) { c.PretrainCross.Batch = 1 },
		"finetune-late-warmup":         func(c *TrainConfig) { c.FinetuneLate.Warmup = 1 },
		"finetune-early-freeze":        func(c *TrainConfig) { c.FinetuneEarly.Freeze = "some" },
		"finetune-early-frozen-mode":   func(c *TrainConfig) { c.FinetuneEarly.FrozenMode = "asleep" },
		"pretrain-video-learning-rate": func(c *TrainConfig) { c.PretrainVideo.LearningRate = -1 },
	} {
		c := train
		change(&c)
		if err := c.Validate(); errs.KindOf(err) != errs.Invalid || errs.FieldOf(err) != field {
			t.Errorf("%s: err = %v", field, err)
		}
	}
	for name, err := range map[string]error{
		"no scorer":         EvaluateConfig{Labels: "l"}.Validate(),
		"two scorers":       EvaluateConfig{Labels: "l", Bundle: "b", Data: "d", Gateway: "g"}.Validate(),
		"bundle, no data":   EvaluateConfig{Labels: "l", Bundle: "b"}.Validate(),
		"no labels":         EvaluateConfig{Bundle: "b", Data: "d"}.Validate(),
		"export of nothing": ExportConfig{Bundle: "b", Out: "r.json"}.Validate(),
		"export to .txt":    ExportConfig{Bundle: "b", Data: []string{"d"}, Out: "r.txt"}.Validate(),
	} {
		if errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: err = %v, want kind invalid", name, err)
		}
	}
}

// Preset base is the published system's schedule.
func TestBaseScheduleIsThePublishedOne(t *testing.T) {
	c := TrainConfig{Preset: "base"}.withPreset()
	for name, s := range map[string]struct {
		got           StageConfig
		rate          float64
		epochs, batch int
		freeze        string
	}{
		"text":  {c.PretrainText, 5e-5, 20, 256, FreezeNone},
		"video": {c.PretrainVideo, 5e-5, 20, 256, FreezeNone},
		"cross": {c.PretrainCross, 5e-5, 20, 200, FreezeNone},
		"late":  {c.FinetuneLate, 3e-4, 15, 256, FreezeTowers},
		"early": {c.FinetuneEarly, 2e-5, 10, 128, FreezeTowers},
	} {
		want := StageConfig{LearningRate: s.rate, Epochs: s.epochs, Batch: s.batch, Warmup: 0.05, Freeze: s.freeze, FrozenMode: FrozenTrain}
		if s.got != want {
			t.Errorf("%s: %+v, want %+v", name, s.got, want)
		}
	}
}

func TestSettingsBeatThePreset(t *testing.T) {
	c := TrainConfig{Preset: "tiny", HeldOut: 0.3, FinetuneLate: StageConfig{Epochs: 2}}.withPreset()
	tiny := tinySchedule().finetuneLate
	if c.HeldOut != 0.3 || c.FinetuneLate.Epochs != 2 || c.FinetuneLate.LearningRate != tiny.LearningRate {
		t.Errorf("config %+v", c.FinetuneLate)
	}
}

func TestPlainProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	st := p.stage("finetune late", 2, 4, 0)
	for range 2 {
		st.advance(1, 8, 0.25)
	}
	st.epochDone(1, 0.25, 0.5, true)
	st.epochDone(2, 0.2, math.NaN(), false)
	st.done()
	p.wait()
	for _, want := range []string{"epoch 1/2  loss 0.2500  held-out spearman 0.5000 *", "spearman undefined ", "videos/s", "ETA"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the progress does not say %q:\n%s", want, out.String())
		}
	}
}

func TestSynthRefusesAFullFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keep"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	err := Synth(context.Background(), SynthConfig{Out: dir, Videos: 50, Pairs: 40, Preset: "tiny"}, service.NewTestEnv(t))
	if errs.KindOf(err) != errs.Invalid {
		t.Errorf("err = %v, want kind invalid", err)
	}
}
