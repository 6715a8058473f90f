package trainer

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/service"
)

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

// gatewayRequest is one that a fakeGateway has seen.
type gatewayRequest struct{ target, body, key string }

// fakeGateway answers as a gateway does that knows the videos a, b and c, and
// scores a pair by its line.
func fakeGateway(t *testing.T) (url string, seen func() []gatewayRequest) {
	t.Helper()
	var mu sync.Mutex
	var requests []gatewayRequest
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			http.Error(w, "unexpected request", http.StatusTeapot)
			return
		}
		mu.Lock()
		requests = append(requests, gatewayRequest{r.URL.RequestURI(), string(data), r.Header.Get("Authorization")})
		mu.Unlock()
		if r.URL.Path == "/v1/evaluations" {
			io.WriteString(w, `{"spearman":0.75,"pairs":3,"missing":1,"missing_ids":["x"]}`)
			return
		}
		w.Header().Set("Videosim-Model", "0123456789ab")
		for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
			number := fmt.Sprintf("%.9f", float64(i)/10)
			if strings.Contains(line, "x") {
				number = ""
			}
			fmt.Fprintf(w, "%s\t%s\n", line, number)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []gatewayRequest { mu.Lock(); defer mu.Unlock(); return slices.Clone(requests) }
}

func TestEvaluateAsksAGateway(t *testing.T) {
	url, seen := fakeGateway(t)
	labels := filepath.Join(t.TempDir(), "label.tsv")
	lines := "a\tb\t0.5\nb\tc\t0\na\tb\t0.25\na\tx\t1\nc\ta\t1\n"
	if err := os.WriteFile(labels, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := Evaluate(context.Background(), EvaluateConfig{Labels: labels, Gateway: url + "/", APIKey: "secret", Bootstrap: 100})
	if err != nil {
		t.Fatal(err)
	}
	const distinct = "a\tb\nb\tc\na\tx\nc\ta\n"
	want := []gatewayRequest{
		{"/v1/evaluations", lines, "Bearer secret"},
		{"/v1/similarity?column=cosine", distinct, "Bearer secret"},
		{"/v1/similarity?column=score", distinct, "Bearer secret"},
	}
	if got := seen(); !slices.Equal(got, want) {
		t.Errorf("the gateway got %q, want %q", got, want)
	}
	if got := Summary(e.Result); got != "spearman=0.7500 pairs=3 missing=1" {
		t.Errorf("summary %q", got)
	}
	if !slices.Equal(e.Cosines, []float64{0, 0.1, 0.3}) || !slices.Equal(e.Labels, []float64{0.25, 0, 1}) || len(e.ByLabel) != 10 {
		t.Errorf("cosines %v, labels %v, %d tenths", e.Cosines, e.Labels, len(e.ByLabel))
	}
	if figures := e.Figures(); !strings.Contains(figures, "95 % interval of spearman") || !strings.HasSuffix(figures, "\n") {
		t.Errorf("figures:\n%s", figures)
	}
}

func TestBrokenScoresFromAGateway(t *testing.T) {
	pairs := []eval.Pair{{A: "a", B: "b"}, {A: "b", B: "c"}}
	for name, c := range map[string]struct {
		body, says string
		kind       errs.Kind
	}{
		"broken off":    {"a\tb\t0.5\n#error\tunavailable\tindex gone\n", "index gone", errs.Unavailable},
		"too short":     {"a\tb\t0.5\n", "1 of 2 pairs", errs.Internal},
		"too long":      {"a\tb\t0.5\nb\tc\t\nb\tc\t\n", "line 3", errs.Internal},
		"another pair":  {"a\tb\t0.5\nc\tb\t1\n", "line 2", errs.Internal},
		"not a number":  {"a\tb\thalf\n", "half", errs.Internal},
		"not the form":  {"<html>\n", "line 1", errs.Internal},
		"an empty body": {"", "0 of 2 pairs", errs.Internal},
	} {
		_, err := readScores(strings.NewReader(c.body), pairs)
		if errs.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: err = %v, want kind %v and %q", name, err, c.kind, c.says)
		}
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
		"resamples":         EvaluateConfig{Labels: "l", Bundle: "b", Data: "d", Bootstrap: -1}.Validate(),
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
