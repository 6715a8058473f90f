package service

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// safeBuffer may be read while a process writes to it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// started is a process under test.
type started struct {
	signals chan os.Signal
	killed  chan int
	status  chan int
	log     *safeBuffer
}

func start(run func(ctx context.Context, env *Env) error, args ...string) started {
	s := started{make(chan os.Signal, 2), make(chan int, 1), make(chan int, 1), new(safeBuffer)}
	p := process{
		name: "prog", args: append([]string{"copy", "x", "--admin-listen", "127.0.0.1:0"}, args...),
		stdout: s.log, stderr: s.log, signals: s.signals, kill: func(status int) { s.killed <- status },
	}
	go func() { s.status <- p.run(&testCLI{run: run}) }()
	return s
}

func within[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(testPatience):
		t.Fatalf("no %s within %v", what, testPatience)
		panic("unreachable")
	}
}

func TestFirstSignalCancels(t *testing.T) {
	for name, end := range map[string]error{"returns nil": nil, "returns the cancellation": context.Canceled} {
		running := make(chan struct{})
		s := start(func(ctx context.Context, _ *Env) error {
			close(running)
			<-ctx.Done()
			return end
		})
		within(t, running, "start")
		s.signals <- syscall.SIGTERM
		if status := within(t, s.status, "end"); status != exitOK {
			t.Errorf("%s: status %d\n%s", name, status, s.log)
		}
	}
}

func TestFailureDuringShutdown(t *testing.T) {
	running := make(chan struct{})
	s := start(func(ctx context.Context, _ *Env) error {
		close(running)
		<-ctx.Done()
		return errTest
	})
	within(t, running, "start")
	s.signals <- os.Interrupt
	if status := within(t, s.status, "end"); status != exitFailed || !strings.Contains(s.log.String(), errTest.Error()) {
		t.Errorf("status %d\n%s", status, s.log)
	}
}

func TestSecondSignalKills(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	s := start(func(context.Context, *Env) error { close(running); <-release; return nil })
	within(t, running, "start")
	s.signals <- os.Interrupt
	s.signals <- os.Interrupt
	if status := within(t, s.killed, "kill"); status != exitFailed {
		t.Errorf("status %d", status)
	}
	close(release)
	within(t, s.status, "end")
}

func TestShutdownHasADeadline(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	s := start(func(context.Context, *Env) error { close(running); <-release; return nil }, "--shutdown-timeout", "20ms")
	within(t, running, "start")
	s.signals <- os.Interrupt
	within(t, s.killed, "kill")
	if !strings.Contains(s.log.String(), "did not stop in time") {
		t.Errorf("log: %s", s.log)
	}
	close(release)
	within(t, s.status, "end")
}

// TestAdminPortOfAProcess: open once a service registers, "stopping" while
// work in hand is finished, shut when the process ends.
func TestAdminPortOfAProcess(t *testing.T) {
	address, release := make(chan net.Addr, 1), make(chan struct{})
	s := start(func(ctx context.Context, env *Env) error {
		env.Admin.Ready("model", func(context.Context) error { return nil })
		for env.Admin.Addr() == nil {
			time.Sleep(time.Millisecond)
		}
		address <- env.Admin.Addr()
		<-release
		return nil
	})
	url := "http://" + within(t, address, "admin port").String()
	if status, body := fetch(t, url+"/readyz"); status != http.StatusOK || !strings.Contains(body, `"name":"model"`) {
		t.Errorf("ready: %d %s", status, body)
	}
	s.signals <- os.Interrupt
	deadline := time.Now().Add(testPatience)
	for {
		status, body := fetch(t, url+"/readyz")
		if status == http.StatusServiceUnavailable && strings.Contains(body, "stopping") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("never stopping: %d %s", status, body)
		}
	}
	close(release)
	within(t, s.status, "end")
	if _, err := http.Get(url + "/livez"); err == nil {
		t.Error("the admin port is still open")
	}
}

func TestNoAdminPortWithoutAService(t *testing.T) {
	var addr net.Addr
	s := start(func(_ context.Context, env *Env) error {
		time.Sleep(20 * time.Millisecond)
		addr = env.Admin.Addr()
		return nil
	})
	if status := within(t, s.status, "end"); status != exitOK || addr != nil {
		t.Errorf("status %d, address %v", status, addr)
	}
}

// TestAdminPortTaken ends the process and says what to set.
func TestAdminPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := start(func(ctx context.Context, env *Env) error {
		env.Admin.Ready("x", func(context.Context) error { return nil })
		<-ctx.Done()
		return nil
	}, "--admin-listen", taken.Addr().String())
	if status := within(t, s.status, "end"); status != exitFailed || !strings.Contains(s.log.String(), "--admin-listen") {
		t.Errorf("status %d\n%s", status, s.log)
	}
}

func TestReport(t *testing.T) {
	env := NewTestEnv(t)
	for name, c := range map[string]struct {
		cause, err error
		want       int
	}{
		"done":                 {nil, nil, exitOK},
		"failed":               {nil, errTest, exitFailed},
		"signal":               {errSignal, nil, exitOK},
		"signal, cancelled":    {errSignal, context.Canceled, exitOK},
		"signal, failed":       {errSignal, errTest, exitFailed},
		"process broke":        {errTest, nil, exitFailed},
		"process broke, ended": {errTest, errors.Join(context.Canceled), exitFailed},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if c.cause != nil {
			cancel(c.cause)
		}
		if got := report(ctx, env, "x", c.err); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		cancel(nil)
	}
}
