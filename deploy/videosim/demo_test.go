package videosim

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"videosim/shared/errs"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/torch"
	"videosim/shared/vecdb"
	"videosim/shared/video"
	"videosim/trainer"
)

// demoConfig is a small demo's, with the program's defaults and ports of its own.
func demoConfig(t *testing.T) DemoConfig {
	t.Helper()
	var cfg DemoConfig
	parser, err := kong.New(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	cfg.Dir, cfg.Exit = filepath.Join(t.TempDir(), "demo"), true
	cfg.Videos, cfg.Pairs = 600, 500
	cfg.Server.Port = freePort(t)
	cfg.Gateway.Listen = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	return cfg
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestDemo runs the main job from nothing at a fifth of its size, then takes
// Milvus in place of the exact index by one setting: both must answer alike.
func TestDemo(t *testing.T) {
	cfg := demoConfig(t)
	env := service.NewTestEnv(t)
	var out bytes.Buffer
	env.Stdout = &out
	if err := Demo(t.Context(), cfg, env); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	spearman := regexp.MustCompile(`(?m)^spearman=(\S+) pairs=(\d+) missing=0$`).FindStringSubmatch(out.String())
	if spearman == nil {
		t.Fatalf("no line with the evaluation in\n%s", out.String())
	}
	if s, err := strconv.ParseFloat(spearman[1], 64); err != nil || s < 0.5 {
		t.Errorf("Spearman %s on held-out pairs, expected at least 0.5 of so small a corpus", spearman[1])
	}
	for _, want := range []string{"by id, model ", "embedded on the fly", "judged ", "all searchable after"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing with %q in\n%s", want, out.String())
		}
	}

	var exact, milvus map[string]map[string]bool
	onSuite(t, cfg, cfg.Index, func(c *client) {
		exact = topTens(t, cfg, c)
		t.Run("the gateway scores as the trainer does", func(t *testing.T) { scoredAlike(t, cfg, c) })
	})
	index := vecdb.Config{Kind: vecdb.KindMilvus, Milvus: vecdb.DefaultMilvus(testkit.Milvus(t))}
	onSuite(t, cfg, index, func(c *client) { milvus = topTens(t, cfg, c) })
	t.Run("int8 ranks as fp32 does", func(t *testing.T) { rankedAlike(t, cfg) })
	same, all := 0, 0
	for id, ids := range exact {
		for other := range ids {
			all++
			if milvus[id][other] {
				same++
			}
		}
	}
	t.Logf("%d of %d ids of the top tens are equal", same, all)
	if all < 10*len(exact) || float64(same) < 0.98*float64(all) {
		t.Errorf("%d of %d ids of the top tens are equal, expected 98 %%", same, all)
	}
}

// onSuite starts the suite on what the demo left, with index, and stops it after
// use.
func onSuite(t *testing.T, cfg DemoConfig, index vecdb.Config, use func(*client)) {
	t.Helper()
	suite := cfg.SuiteConfig
	suite.Index = index
	suite.Server.StoreDir = filepath.Join(cfg.Dir, filepath.Base(suite.Server.StoreDir))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Up(ctx, UpConfig{Bundle: filepath.Join(cfg.Dir, "bundle"), SuiteConfig: suite}, service.NewTestEnv(t))
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the suite ended: %v", err)
		}
	}()
	c := &client{base: "http://" + suite.Gateway.Listen}
	if err := c.waitServing(ctx, time.Minute); err != nil {
		t.Fatal(err)
	}
	some := pairwiseIDs(t, filepath.Join(cfg.Dir, "corpus"), 1)
	if err := c.waitIndexed(ctx, some[0], uint64(cfg.Videos), 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	use(c)
}

// topTens returns the ten videos most like each of a hundred.
func topTens(t *testing.T, cfg DemoConfig, c *client) map[string]map[string]bool {
	t.Helper()
	found := map[string]map[string]bool{}
	for _, id := range pairwiseIDs(t, filepath.Join(cfg.Dir, "corpus"), 100) {
		a, err := c.similarByID(t.Context(), id, 10)
		if err != nil {
			t.Fatal(err)
		}
		found[id] = map[string]bool{}
		for _, r := range a.Results {
			found[id][r.ID] = true
		}
	}
	return found
}

// scoredAlike compares what the gateway says of the held-out pairs, whose
// videos came through the streams and the index, with what the trainer makes of
// the same bundle and the records on disk, in the embedder's precision.
func scoredAlike(t *testing.T, cfg DemoConfig, c *client) {
	const gate = 1e-6
	labels := filepath.Join(cfg.Dir, "bundle.run", "held_out.tsv")
	gateway := evaluated(t, trainer.EvaluateConfig{Labels: labels, Gateway: c.base})
	bundle := evaluatedIn(t, cfg, labels, cfg.Embedder.Precision)
	if gateway.Pairs < 50 || gateway.Pairs != bundle.Pairs || gateway.Missing != 0 || bundle.Missing != 0 {
		t.Fatalf("gateway: %s; bundle: %s", trainer.Summary(gateway.Result), trainer.Summary(bundle.Result))
	}
	if !(math.Abs(gateway.Spearman-bundle.Spearman) <= gate) {
		t.Errorf("Spearman %.9f by the gateway, %.9f by the bundle", gateway.Spearman, bundle.Spearman)
	}
	if !slices.Equal(gateway.Scored, bundle.Scored) {
		t.Fatal("the two scored different pairs, or in another order")
	}
	worst := 0.0
	for i, p := range gateway.Scored {
		d := max(math.Abs(gateway.Cosines[i]-bundle.Cosines[i]), math.Abs(gateway.Scores[i]-bundle.Scores[i]))
		if worst = max(worst, d); !(d <= gate) {
			t.Errorf("%s, %s: cosine %.9f and score %.9f by the gateway, %.9f and %.9f by the bundle",
				p.A, p.B, gateway.Cosines[i], gateway.Scores[i], bundle.Cosines[i], bundle.Scores[i])
		}
	}
	t.Logf("%d pairs, no cosine or score differs by more than %.2g; Spearman by %.2g",
		gateway.Pairs, worst, math.Abs(gateway.Spearman-bundle.Spearman))
}

// rankedAlike holds int8 to what it may cost in quality, on all pairs of the
// corpus: the fewer held out alone would say less about rounding. Where the CPU lacks the
// instructions, the engine must say so rather than compute something else.
func rankedAlike(t *testing.T, cfg DemoConfig) {
	engine, err := torch.Start(torch.EngineConfig{Device: "cpu", Precision: "int8"})
	if err != nil {
		if errs.FieldOf(err) != "precision" || !strings.Contains(err.Error(), "avx512_vnni") {
			t.Errorf("int8 is refused with %q; the setting and the missing instructions should be named", err)
		}
		return
	}
	engine.Close()
	folder, err := video.ListFolder(filepath.Join(cfg.Dir, "corpus"))
	if err != nil {
		t.Fatal(err)
	}
	exact, int8 := evaluatedIn(t, cfg, folder.LabelsPath, "fp32"), evaluatedIn(t, cfg, folder.LabelsPath, "int8")
	t.Logf("Spearman on %d pairs: fp32 %.5f, int8 %.5f", exact.Pairs, exact.Spearman, int8.Spearman)
	if !(int8.Spearman > exact.Spearman-0.002) || int8.Pairs != exact.Pairs {
		t.Errorf("int8: %s; fp32: %s; expected at most 0.002 less", trainer.Summary(int8.Result), trainer.Summary(exact.Result))
	}
	if slices.Equal(int8.Cosines, exact.Cosines) {
		t.Error("int8 gives the very cosines of fp32: it was not in use")
	}
}

func evaluatedIn(t *testing.T, cfg DemoConfig, labels, precision string) trainer.Evaluation {
	t.Helper()
	return evaluated(t, trainer.EvaluateConfig{
		Labels: labels, Bundle: filepath.Join(cfg.Dir, "bundle"), Data: filepath.Join(cfg.Dir, "corpus"),
		Engine: trainer.EngineConfig{Device: "cpu", Precision: precision, Batch: 64},
	})
}

func evaluated(t *testing.T, cfg trainer.EvaluateConfig) trainer.Evaluation {
	t.Helper()
	e, err := trainer.Evaluate(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func pairwiseIDs(t *testing.T, dir string, n int) []string {
	t.Helper()
	folder, err := video.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	var ids []string
	for i := range n {
		v, err := folder.Pairwise.Video(i)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, v.ID)
	}
	return ids
}

func TestDemoKeepsForeignFolders(t *testing.T) {
	cfg := demoConfig(t)
	cfg.Dir = t.TempDir()
	precious := filepath.Join(cfg.Dir, "thesis.txt")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Demo(t.Context(), cfg, service.NewTestEnv(t)); err == nil || !strings.Contains(err.Error(), "dir: ") {
		t.Errorf("error %v, expected one about dir", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("a file that is not the demo's is gone: %v", err)
	}
}
