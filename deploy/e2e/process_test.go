package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// program is one built service that runs as a process of its own.
type program struct {
	t    *testing.T
	name string
	path string
	args []string
	cmd  *exec.Cmd
	done chan error
	log  bytes.Buffer
}

// build compiles a service as the Makefile does.
func build(t *testing.T, name string, cgo bool) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-o", out, "./"+name+"/cmd/"+name)
	cmd.Dir = "../.."
	if !cgo {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, msg)
	}
	return out
}

// start runs the program and kills it at the end of the test at the latest.
// What it logged is shown when the test has failed.
func start(t *testing.T, name, path string, args ...string) *program {
	t.Helper()
	p := &program{t: t, name: name, path: path, args: args}
	p.launch()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s logged:\n%s", name, lastLines(p.log.String(), 60))
		}
	})
	return p
}

func (p *program) launch() {
	p.t.Helper()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	p.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) { done <- cmd.Wait() }(p.cmd, p.done)
}

// kill ends the process as a crash would: nothing is finished or handed back.
func (p *program) kill() {
	_ = p.cmd.Process.Kill() // fails only where it has ended already
	<-p.done
	p.done <- nil // so that kill may be called again
}

// restart brings the killed program back.
func (p *program) restart() { p.launch() }

// freeAddress is an address that nothing listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func lastLines(s string, n int) string {
	lines := bytes.Split([]byte(s), []byte("\n"))
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}

// eventually tries until check returns nil or the time is up.
func eventually(t *testing.T, wait time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, wait, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// awaitReady waits for a service by its admin port.
func awaitReady(t *testing.T, wait time.Duration, admin string) {
	t.Helper()
	eventually(t, wait, "ready at "+admin, func() error {
		r, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", r.StatusCode)
		}
		return nil
	})
}
