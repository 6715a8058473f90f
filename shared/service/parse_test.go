package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"videosim/shared/errs"
)

// serverConfig is as the services' configs are.
type serverConfig struct {
	Listen   string            `help:"Address of the API." default:"127.0.0.1:8080"`
	Queue    int               `help:"How many may wait." default:"64"`
	Tags     []string          `help:"Tags to keep."`
	Weights  map[string]int    `help:"Weight of each model."`
	Fallback string            `help:"Second server."`
	NATS     natsConfig        `embed:"" prefix:"nats-"`
	Extra    map[string]string `kong:"-"`
}

type natsConfig struct {
	URL   string `help:"Where NATS is." default:"nats://default:4222"`
	Token string `help:"Token to present." secret:""`
}

func (c serverConfig) Validate() error {
	if c.Queue < 0 {
		return errs.Field("queue", "expected 0 or more, found %d", c.Queue)
	}
	return nil
}

// testCLI has two commands; run is what its commands do.
type testCLI struct {
	Serve struct {
		serverConfig `embed:""`
		Strict       bool `help:"Be strict." negatable:""`
	} `cmd:"" help:"Serve."`
	Copy struct {
		From string `arg:"" help:"Source."`
		Jobs int    `help:"Parallel jobs." default:"1"`
	} `cmd:"" help:"Copy."`
	run func(ctx context.Context, env *Env) error
}

func (c *testCLI) Run(ctx context.Context, env *Env) error {
	if c.run == nil {
		return nil
	}
	return c.run(ctx, env)
}

// parsed runs the command line and returns its status and output.
func parsed(t *testing.T, args, environ []string) (cli *testCLI, status int, stdout, stderr string) {
	t.Helper()
	cli = new(testCLI)
	var out, logged bytes.Buffer
	p := process{name: "prog", args: args, environ: environ, stdout: &out, stderr: &logged, kill: func(int) { t.Error("killed") }}
	status = p.run(cli)
	return cli, status, out.String(), logged.String()
}

func TestPrecedence(t *testing.T) {
	const file = "testdata/good.yml"
	for _, c := range []struct {
		name          string
		args, environ []string
		want          string
	}{
		{"default", []string{"serve"}, nil, "nats://default:4222"},
		{"file", []string{"serve", "--config", file}, nil, "nats://file:4222"},
		{"file named by the environment", []string{"serve"}, []string{"VIDEOSIM_CONFIG=" + file}, "nats://file:4222"},
		{"environment over file", []string{"serve", "--config", file}, []string{"VIDEOSIM_NATS_URL=nats://env:4222"}, "nats://env:4222"},
		{"flag over all", []string{"serve", "--config", file, "--nats-url", "nats://flag:4222"}, []string{"VIDEOSIM_NATS_URL=nats://env:4222"}, "nats://flag:4222"},
		{"environment may set nothing", []string{"serve", "--config", file}, []string{"VIDEOSIM_NATS_URL="}, ""},
	} {
		cli, status, _, stderr := parsed(t, c.args, c.environ)
		if status != exitOK || cli.Serve.NATS.URL != c.want {
			t.Errorf("%s: status %d, %q, want %q\n%s", c.name, status, cli.Serve.NATS.URL, c.want, stderr)
		}
	}
}

func TestEverythingFromAFile(t *testing.T) {
	cli, status, _, stderr := parsed(t, []string{"serve", "--config", "testdata/good.yml", "--no-strict"}, nil)
	c := cli.Serve
	if status != exitOK || c.Listen != "0.0.0.0:80" || c.Queue != 7 || c.Fallback != "nats://file:4222" || c.NATS.Token != "sesame" {
		t.Errorf("status %d, %+v\n%s", status, c, stderr)
	}
	if !slices.Equal(c.Tags, []string{"1", "a,b", "c"}) || !maps.Equal(c.Weights, map[string]int{"late": 2, "early": 3}) {
		t.Errorf("tags %q, weights %v", c.Tags, c.Weights)
	}
	// The same file serves the other command, which has none of these flags.
	if _, status, _, stderr := parsed(t, []string{"copy", "x", "--config", "testdata/good.yml"}, nil); status != exitOK {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

// TestBadConfigs has one file a mistake; each complaint names the file, the
// line, the key and what is wrong.
func TestBadConfigs(t *testing.T) {
	want := map[string]string{
		"unknown_key":        `line 2, listne: unknown key, did you mean "listen"?`,
		"unknown_nested_key": `line 3, nats-urll: unknown key, did you mean "nats-url"?`,
		"unknown_group":      `line 3, tracing: unknown key`,
		"set_twice":          `line 3, nats-url: set a second time, first at testdata/set_twice.bad.yml, line 2`,
		"repeated_key":       `line 2, listen: set a second time`,
		"no_value":           `line 1, listen: expected a value, found none`,
		"wrong_type":         `--queue: testdata/wrong_type.bad.yml, line 2: expected a valid 64 bit int but got "many"`,
		"wrong_duration":     `line 1: expected duration but got "30"`,
		"wrong_choice":       `line 2: expected one of debug, info, warn, error, found "loud"`,
		"list_for_one":       `line 1: expected a single value, found a list`,
		"mapping_for_one":    `line 1: expected a single value, found a mapping`,
		"nested_list":        `line 1: line 1: expected a single value, found a list`,
		"not_a_mapping":      `line 1, : expected keys and values, found a list`,
		"two_documents":      `expected one YAML document, found another behind ---`,
		"no_yaml":            `found unexpected end of stream`,
		"key_is_a_list":      `line 1, : expected a key, found a list`,
		"config_in_config":   `line 1, config: unknown key`,
		"not_a_setting":      `line 1, version: unknown key`,
		"invalid":            `queue: expected 0 or more, found -1`,
	}
	files, err := filepath.Glob("testdata/*.bad.yml")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files for %d expectations: %v", len(files), len(want), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bad.yml")
		_, status, _, stderr := parsed(t, []string{"serve", "--config", file}, nil)
		if status != exitUsage || want[name] == "" || !strings.Contains(stderr, want[name]) {
			t.Errorf("%s: status %d, want %d\n got %s want %s", name, status, exitUsage, stderr, want[name])
		}
		if name != "invalid" && !strings.Contains(stderr, file) {
			t.Errorf("%s: the complaint does not name the file: %s", name, stderr)
		}
	}
}

func TestOtherUsageErrors(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.yml")
	if err := os.WriteFile(large, bytes.Repeat([]byte("# x\n"), 1<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args, environ []string
		want          string
	}{
		"unknown flag":      {[]string{"serve", "--lissten", "x"}, nil, "unknown flag --lissten, did you mean \"--listen\"?"},
		"unknown command":   {[]string{"sevre"}, nil, "unexpected argument sevre"},
		"unknown variable":  {[]string{"serve"}, []string{"VIDEOSIM_NATS_ULR=x"}, `VIDEOSIM_NATS_ULR: unknown environment variable, did you mean "VIDEOSIM_NATS_URL"?`},
		"bad variable":      {[]string{"serve"}, []string{"VIDEOSIM_QUEUE=many"}, "$VIDEOSIM_QUEUE: expected a valid 64 bit int"},
		"bad flag":          {[]string{"serve", "--queue", "many"}, nil, "expected a valid 64 bit int"},
		"no such file":      {[]string{"serve", "--config", "nowhere.yml"}, nil, "nowhere.yml: no such file"},
		"too large":         {[]string{"serve", "--config", large}, nil, "expected at most 1048576 bytes"},
		"never shuts down":  {[]string{"serve", "--shutdown-timeout", "0s"}, nil, "shutdown-timeout: expected a positive duration, found 0s"},
		"embedded Validate": {[]string{"serve", "--queue=-1"}, nil, "queue: expected 0 or more, found -1"},
	} {
		_, status, _, stderr := parsed(t, c.args, c.environ)
		if status != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: status %d, got %s want %s", name, status, stderr, c.want)
		}
	}
}

// TestNoCommand: a program that has commands lists them instead of guessing.
func TestNoCommand(t *testing.T) {
	var cli struct {
		Serve struct{} `cmd:"" help:"Serve."`
		Copy  struct{} `cmd:"" help:"Copy."`
	}
	var out bytes.Buffer
	status := process{name: "prog", stdout: &out, stderr: &out}.run(&cli)
	if status != exitUsage || !strings.Contains(out.String(), `expected one of "serve", "copy"`) {
		t.Errorf("status %d: %s", status, &out)
	}
}

// TestServiceLinksAreNotSettings: Kubernetes sets these for a Service called
// videosim-gateway.
func TestServiceLinksAreNotSettings(t *testing.T) {
	_, status, _, stderr := parsed(t, []string{"serve"}, []string{
		"VIDEOSIM_GATEWAY_SERVICE_HOST=10.0.0.1", "VIDEOSIM_GATEWAY_SERVICE_PORT=80", "VIDEOSIM_GATEWAY_SERVICE_PORT_HTTP=80",
		"VIDEOSIM_GATEWAY_PORT=tcp://10.0.0.1:80", "VIDEOSIM_GATEWAY_PORT_80_TCP=tcp://10.0.0.1:80",
		"VIDEOSIM_GATEWAY_PORT_80_TCP_ADDR=10.0.0.1", "OTHER=x",
	})
	if status != exitOK {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

func TestHelp(t *testing.T) {
	_, status, stdout, stderr := parsed(t, []string{"serve", "--help"}, []string{"VIDEOSIM_NONSENSE=1"})
	if status != exitOK || stderr != "" {
		t.Fatalf("status %d\n%s", status, stderr)
	}
	for _, part := range []string{"--listen=\"127.0.0.1:8080\"", "($VIDEOSIM_LISTEN).", "--nats-url", "--shutdown-timeout=30s", "--admin-listen=\"127.0.0.1:9090\""} {
		if !strings.Contains(stdout, part) {
			t.Errorf("help lacks %s:\n%s", part, stdout)
		}
	}
	if _, status, stdout, _ := parsed(t, []string{"--version"}, nil); status != exitOK || !strings.HasPrefix(stdout, "prog ") {
		t.Errorf("version: %d %q", status, stdout)
	}
}

// TestEffectiveConfigIsLogged: one line at the start, all settings of the
// command, no secret, whatever source it came from.
func TestEffectiveConfigIsLogged(t *testing.T) {
	_, status, _, stderr := parsed(t, []string{"serve", "--config", "testdata/good.yml", "--fallback", "nats://me:pass@a:1,nats://tok3n@b:2"}, nil)
	if status != exitOK {
		t.Fatal(stderr)
	}
	if strings.Contains(stderr, "sesame") || strings.Contains(stderr, "pass@") || strings.Contains(stderr, "tok3n") {
		t.Errorf("a secret was logged: %s", stderr)
	}
	var line struct {
		Level, Msg, Command string
		Settings            map[string]any
	}
	first, rest, _ := strings.Cut(stderr, "\n")
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatalf("%v: %s", err, first)
	}
	if line.Level != "INFO" || line.Msg != "configuration" || line.Command != "serve" || strings.Contains(rest, `"configuration"`) {
		t.Errorf("first line %s, then %s", first, rest)
	}
	for key, want := range map[string]any{
		"listen": "0.0.0.0:80", "queue": 7.0, "nats-token": "(hidden)", "shutdown-timeout": "30s", "log-level": "debug", "admin-listen": "",
		"fallback": "nats://me:xxxxx@a:1,nats://token:xxxxx@b:2",
	} {
		if line.Settings[key] != want {
			t.Errorf("%s: %v, want %v", key, line.Settings[key], want)
		}
	}
	if _, there := line.Settings["jobs"]; there {
		t.Error("a flag of another command was logged")
	}
}

// TestFailedCommand: the error is logged once, with its kind; status 1.
func TestFailedCommand(t *testing.T) {
	cli := &testCLI{run: func(context.Context, *Env) error { return errs.New(errs.NotFound, "no bundle there") }}
	var logged bytes.Buffer
	status := process{name: "prog", args: []string{"copy", "x"}, stdout: &logged, stderr: &logged}.run(cli)
	if status != exitFailed || strings.Count(logged.String(), "no bundle there") != 1 || !strings.Contains(logged.String(), `"kind":"not-found"`) {
		t.Errorf("status %d\n%s", status, &logged)
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"nats-ulr", "nats-url", 2}, {"same", "same", 0}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// TestNewTestEnv: what is logged after a test does not make it panic.
func TestNewTestEnv(t *testing.T) {
	var late *Env
	t.Run("inner", func(t *testing.T) {
		late = NewTestEnv(t)
		late.Log.Info("inside")
	})
	late.Log.Info("after the end")
	if late.Tracer == nil || late.Metrics == nil || late.Admin == nil || late.Propagator == nil {
		t.Errorf("%+v", late)
	}
}

var errTest = errors.New("test")

const testPatience = 5 * time.Second
