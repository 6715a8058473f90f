package testkit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "videosim/"

// layer is one line of the dependency table: a part of the suite imports only
// parts of lower layers, plus what also lists.
type layer struct {
	height int
	also   []string
}

// layers is the dependency table. The height says how much of the suite one
// has to know to understand a part.
func layers() map[string]layer {
	return map[string]layer{
		"shared/errs":    {height: 0},
		"client":         {height: 0}, // for programs outside the suite: imports nothing of it
		"shared/torch":   {height: 1},
		"shared/text":    {height: 1},
		"shared/eval":    {height: 1},
		"shared/bundle":  {height: 1, also: []string{"shared/eval"}}, // a manifest holds a calibration
		"shared/nn":      {height: 2},
		"shared/video":   {height: 2},
		"shared/vecdb":   {height: 2},
		"shared/event":   {height: 2, also: []string{"shared/video"}}, // an event carries a video
		"shared/model":   {height: 3},
		"shared/bus":     {height: 3},
		"shared/service": {height: 3},
		"trainer":        {height: 4},
		"embedder":       {height: 4},
		"indexer":        {height: 4},
		"gateway":        {height: 4},
		"deploy":         {height: 5},
	}
}

// onlyFor says which parts may import a library, and why no other.
func onlyFor() []confined {
	return []confined{
		{"C", []string{"shared/torch"}, "cgo stays in one package, so that the rest is ordinary Go"},
		{"github.com/nats-io/nats.go", []string{"shared/bus", "shared/event"}, "acknowledgement and redelivery are decided in one place"},
		{"github.com/nats-io/nats-server", []string{"shared/bus"}, "only the bus starts a server"},
		{"github.com/milvus-io/", []string{"shared/vecdb"}, "an index is used through vecdb.Index alone"},
		{"github.com/gin-gonic/gin", []string{"gateway"}, "only the gateway speaks HTTP to users"},
	}
}

type confined struct {
	library string
	parts   []string
	reason  string
}

// testOnly are packages that no program may contain.
func testOnly() []string {
	return []string{"shared/testkit", "shared/vecdb/vecdbtest"}
}

type pkg struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
	Standard   bool
}

// part is the line of the table that an import path belongs to: the service,
// deploy, or the folder under shared.
func part(path string) string {
	fields := strings.Split(strings.TrimPrefix(path, module), "/")
	if fields[0] == "shared" && len(fields) > 1 {
		return fields[0] + "/" + fields[1]
	}
	return fields[0]
}

func isTestOnly(path string) bool {
	return slices.ContainsFunc(testOnly(), func(name string) bool {
		return path == module+name || strings.HasPrefix(path, module+name+"/")
	})
}

// violations explains every import that breaks the table. Test files are not
// looked at: a test may use what it needs.
func violations(packages []pkg) []string {
	var found []string
	for _, p := range packages {
		for _, imported := range p.Imports {
			if reason := forbidden(p.ImportPath, imported); reason != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", p.ImportPath, imported, reason))
			}
		}
	}
	return found
}

// forbidden returns why from may not import to, "" where it may.
func forbidden(from, to string) string {
	if isTestOnly(from) {
		return ""
	}
	for _, c := range onlyFor() {
		if (to == c.library || c.library != "C" && strings.HasPrefix(to, c.library)) && !slices.Contains(c.parts, part(from)) {
			return fmt.Sprintf("only %s may: %s", strings.Join(c.parts, " and "), c.reason)
		}
	}
	if !strings.HasPrefix(to, module) || part(from) == part(to) && !isTestOnly(to) {
		return ""
	}
	if isTestOnly(to) {
		return "it is for test files only"
	}
	table := layers()
	a, knownA := table[part(from)]
	b, knownB := table[part(to)]
	switch {
	case !knownA || !knownB:
		return "one of them is not in the dependency table; add it to layers with its height"
	case b.height < a.height || slices.Contains(a.also, part(to)):
		return ""
	case a.height == 4 && b.height == 4:
		return "services know each other only through the stream and HTTP"
	}
	return fmt.Sprintf("arrows point down: %s is of height %d, %s of %d", part(from), a.height, part(to), b.height)
}

// goList runs go list in the module's root.
func goList(t *testing.T, args ...string) []pkg {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,CgoFiles,Standard"}, args...)...)
	command.Dir = "../.."
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", args, err, &complaints)
	}
	var packages []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestDependencyTable(t *testing.T) {
	packages := goList(t, "./...")
	if len(packages) < len(layers()) {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	for _, v := range violations(packages) {
		t.Error(v)
	}
}

// TestBuiltWithoutCgo: indexer and gateway are plain static Go programs. It
// looks at everything they contain, libraries included.
func TestBuiltWithoutCgo(t *testing.T) {
	for _, p := range goList(t, "-deps", "./indexer/...", "./gateway/...") {
		if !p.Standard && (len(p.CgoFiles) > 0 || slices.Contains(p.Imports, "C")) {
			t.Errorf("indexer or gateway contains %s, which needs cgo: they are built with CGO_ENABLED=0; see go mod why %s", p.ImportPath, p.ImportPath)
		}
	}
}

// TestTheTableCatches: each rule, broken on purpose.
func TestTheTableCatches(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"embedder", "shared/bus", ""},
		{"embedder/cmd/embedder", "embedder", ""},
		{"gateway", "gateway/query", ""},
		{"deploy/videosim", "gateway", ""},
		{"shared/bundle", "shared/eval", ""},
		{"shared/testkit", "shared/bus", ""},
		{"gateway", "indexer", "services know each other only through the stream"},
		{"shared/errs", "shared/torch", "arrows point down"},
		{"shared/video", "shared/event", "arrows point down"},
		{"shared/service", "shared/bus", "arrows point down"},
		{"shared/eval", "shared/bundle", "arrows point down"},
		{"trainer", "deploy/videosim", "arrows point down"},
		{"trainer", "shared/testkit", "test files only"},
		{"shared/vecdb", "shared/vecdb/vecdbtest", "test files only"},
		{"shared/helpers", "shared/errs", "not in the dependency table"},
	} {
		reason := forbidden(module+c.from, module+c.to)
		if (c.want == "") != (reason == "") || !strings.Contains(reason, c.want) {
			t.Errorf("%s → %s: %q, want %q", c.from, c.to, reason, c.want)
		}
	}
	for from, library := range map[string]string{
		"shared/nn": "C", "embedder": "github.com/nats-io/nats.go/jetstream", "shared/event": "github.com/nats-io/nats-server/v2/server",
		"indexer": "github.com/milvus-io/milvus-sdk-go/v2/client", "deploy/videosim": "github.com/gin-gonic/gin",
	} {
		if got := violations([]pkg{{ImportPath: module + from, Imports: []string{library}}}); len(got) != 1 {
			t.Errorf("%s → %s: %v", from, library, got)
		}
	}
}
