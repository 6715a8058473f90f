package videosim

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/vecdb"
	"videosim/shared/video"
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

	exact := topTens(t, cfg, cfg.Index)
	milvus := topTens(t, cfg, vecdb.Config{Kind: vecdb.KindMilvus, Milvus: vecdb.DefaultMilvus(testkit.Milvus(t))})
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

// topTens starts the suite on what the demo left, with index, and returns the
// ten videos most like each of a hundred.
func topTens(t *testing.T, cfg DemoConfig, index vecdb.Config) map[string]map[string]bool {
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
	ids := pairwiseIDs(t, filepath.Join(cfg.Dir, "corpus"), 100)
	if err := c.waitIndexed(ctx, ids[0], uint64(cfg.Videos), 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]bool{}
	for _, id := range ids {
		a, err := c.similarByID(ctx, id, 10)
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
