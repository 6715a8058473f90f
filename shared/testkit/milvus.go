package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// milvusStart bounds the wait for a started server. It is ready in 1 to 3 s on
// an idle machine.
const milvusStart = 90 * time.Second

// MilvusServer is a Milvus of its own: the standalone binary that
// deploy/setup.sh unpacks, with its data in one folder and its ports its own,
// so that any number run beside each other. It dies with this process,
// whatever ends it.
type MilvusServer struct {
	dir   string
	ports *portBlock
	exit  chan struct{} // closed when the process has ended; nil before the first start
	pid   int
}

// StartMilvus starts a server with its data in dir and returns once it answers.
// Settings change keys of its configuration ("common.security.tlsMode").
func StartMilvus(dir string, settings ...map[string]any) (*MilvusServer, error) {
	ports, err := takePorts()
	if err != nil {
		return nil, err
	}
	return startMilvus(dir, ports, settings...)
}

// startMilvus owns ports: it gives them up when the server does not start.
func startMilvus(dir string, ports *portBlock, settings ...map[string]any) (*MilvusServer, error) {
	s := &MilvusServer{dir: dir, ports: ports}
	bin, err := milvusDir()
	if err == nil {
		err = s.configure(bin, settings)
	}
	if err == nil {
		err = s.launch(bin)
	}
	if err != nil {
		ports.release()
		return nil, err
	}
	return s, nil
}

// Address is where clients connect to.
func (s *MilvusServer) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.ports.port(portProxy)) }

// Log is the file with the server's output.
func (s *MilvusServer) Log() string { return filepath.Join(s.dir, "milvus.log") }

// Stop ends the server and frees its ports. The data stays in its folder.
func (s *MilvusServer) Stop() error {
	err := s.end(syscall.SIGTERM)
	s.ports.release()
	return err
}

// Kill ends the server as a crash would. Restart brings it back.
func (s *MilvusServer) Kill() error { return s.end(syscall.SIGKILL) }

// Restart starts a killed server again, with the same data at the same address.
func (s *MilvusServer) Restart() error {
	if err := s.end(syscall.SIGKILL); err != nil {
		return err
	}
	bin, err := milvusDir()
	if err != nil {
		return err
	}
	return s.launch(bin)
}

// end signals the process group and waits; after 10 s it kills.
func (s *MilvusServer) end(sig syscall.Signal) error {
	if s.exit == nil {
		return nil
	}
	if err := syscall.Kill(-s.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end milvus: %w", err)
	}
	select {
	case <-s.exit:
		return nil
	case <-time.After(10 * time.Second):
	}
	if err := syscall.Kill(-s.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end milvus: %w", err)
	}
	<-s.exit
	return nil
}

// launch starts the process and waits until it answers.
func (s *MilvusServer) launch(bin string) error {
	logFile, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd := exec.Command(filepath.Join(bin, "bin", "milvus"), "run", "standalone")
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.Env = append(os.Environ(),
		"MILVUSCONF="+s.confDir(),
		"MILVUS_RUN_DIR="+filepath.Join(s.dir, "run"),
		"DEPLOY_MODE=STANDALONE",
		"LD_LIBRARY_PATH="+filepath.Join(bin, "bin"),
		fmt.Sprintf("METRICS_PORT=%d", s.ports.port(portMetrics)),
	)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.spawn(cmd); err != nil {
		return fmt.Errorf("start milvus: %w", err)
	}
	if err := s.waitHealthy(); err != nil {
		return errors.Join(err, s.end(syscall.SIGKILL))
	}
	return nil
}

// spawn starts cmd from a thread that lives as long as it: the kernel sends
// Pdeathsig when the starting thread ends, not the process.
func (s *MilvusServer) spawn(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	exit := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(exit)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the exit status of a killed server says nothing
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.exit, s.pid = exit, cmd.Process.Pid
	return nil
}

func (s *MilvusServer) waitHealthy() error {
	url := fmt.Sprintf("http://127.0.0.1:%d/healthz", s.ports.port(portMetrics))
	ctx, cancel := context.WithTimeout(context.Background(), milvusStart)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if healthy(ctx, url) {
			return nil
		}
		select {
		case <-s.exit:
			return fmt.Errorf("milvus ended while it started; its log ends with:\n%s", tail(s.Log(), 2000))
		case <-ctx.Done():
			return fmt.Errorf("milvus does not answer after %s; its log ends with:\n%s", milvusStart, tail(s.Log(), 2000))
		case <-tick.C:
		}
	}
}

func healthy(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// tail returns the last n bytes of a file, or why it cannot.
func tail(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, err = f.Seek(max(0, size-n), io.SeekStart)
		if err != nil {
			return err.Error()
		}
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
