package testkit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"
)

// Places in a portBlock.
const (
	portProxy = iota
	portProxyInternal
	portMetrics
	portRootCoord
	portQueryCoord
	portQueryNode
	portIndexNode
	portDataCoord
	portDataNode
	portEtcdClient
	portEtcdPeer
	portCount
)

// milvusDir is the unpacked server: $MILVUS_DIR, else the repo's .deps/milvus.
func milvusDir() (string, error) {
	dir := os.Getenv("MILVUS_DIR")
	if dir == "" {
		_, self, _, _ := runtime.Caller(0)
		dir = filepath.Join(filepath.Dir(self), "..", "..", ".deps", "milvus")
	}
	if _, err := os.Stat(filepath.Join(dir, "bin", "milvus")); err != nil {
		return "", fmt.Errorf("milvus server: %w (deploy/setup.sh unpacks it; MILVUS_DIR names another place)", err)
	}
	return filepath.Abs(dir)
}

// configure writes the server's configuration: the wheel's own, with this
// server's folders and ports and the caller's settings.
func (s *MilvusServer) configure(bin string, settings []map[string]any) error {
	raw, err := os.ReadFile(filepath.Join(bin, "milvus.yaml"))
	if err != nil {
		return err
	}
	var conf map[string]any
	if err := yaml.Unmarshal(raw, &conf); err != nil {
		return fmt.Errorf("%s/milvus.yaml: %w", bin, err)
	}
	for _, part := range append([]map[string]any{s.settings()}, settings...) {
		for path, value := range part {
			set(conf, strings.Split(path, "."), value)
		}
	}
	if err := os.MkdirAll(s.confDir(), 0o755); err != nil {
		return err
	}
	if err := writeYAML(filepath.Join(s.confDir(), "milvus.yaml"), conf); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.confDir(), "glog.conf"), []byte(glogConf), 0o644); err != nil {
		return err
	}
	return writeYAML(s.etcdConf(), s.etcdSettings())
}

// glogConf configures the C++ half's log; the server does not start without.
const glogConf = "--logtostderr=true\n--minloglevel=2\n"

func (s *MilvusServer) confDir() string  { return filepath.Join(s.dir, "configs") }
func (s *MilvusServer) etcdConf() string { return filepath.Join(s.confDir(), "etcd.yaml") }

func (s *MilvusServer) settings() map[string]any {
	return map[string]any{
		"etcd.endpoints":     fmt.Sprintf("127.0.0.1:%d", s.ports.port(portEtcdClient)),
		"etcd.config.path":   s.etcdConf(), // the embedded etcd's own ports
		"etcd.data.dir":      filepath.Join(s.dir, "etcd"),
		"etcd.log.path":      filepath.Join(s.dir, "etcd.log"),
		"etcd.log.level":     "error",
		"localStorage.path":  filepath.Join(s.dir, "data"),
		"rocksmq.path":       filepath.Join(s.dir, "rocksmq"),
		"log.file.rootPath":  "",
		"log.level":          "warn",
		"proxy.ip":           "127.0.0.1",
		"proxy.port":         s.ports.port(portProxy),
		"proxy.internalPort": s.ports.port(portProxyInternal),
		"rootCoord.ip":       "127.0.0.1",
		"rootCoord.port":     s.ports.port(portRootCoord),
		"queryCoord.ip":      "127.0.0.1",
		"queryCoord.port":    s.ports.port(portQueryCoord),
		"queryNode.ip":       "127.0.0.1",
		"queryNode.port":     s.ports.port(portQueryNode),
		"indexNode.ip":       "127.0.0.1",
		"indexNode.port":     s.ports.port(portIndexNode),
		"dataCoord.ip":       "127.0.0.1",
		"dataCoord.port":     s.ports.port(portDataCoord),
		"dataNode.ip":        "127.0.0.1",
		"dataNode.port":      s.ports.port(portDataNode),
		// Rows not yet flushed are compared one by one, as DESIGN.md of
		// shared/vecdb asks of every server: the interim index loses hits.
		"queryNode.segcore.interimIndex.enableIndex": false,
		// How long the rest of Milvus waits for a killed part before it goes on
		// without (seconds; 30): a killed server answers that much sooner.
		"common.session.ttl": 10,
		// A collection is loaded in a third of the time (milliseconds; 1000 and 500).
		"queryCoord.checkInterval":    100,
		"queryCoord.distPullInterval": 100,
	}
}

// etcdSettings is the embedded etcd's configuration file. One node, no quorum.
func (s *MilvusServer) etcdSettings() map[string]any {
	client := fmt.Sprintf("http://127.0.0.1:%d", s.ports.port(portEtcdClient))
	peer := fmt.Sprintf("http://127.0.0.1:%d", s.ports.port(portEtcdPeer))
	return map[string]any{
		"name":                        "default",
		"listen-client-urls":          client,
		"advertise-client-urls":       client,
		"listen-peer-urls":            peer,
		"initial-advertise-peer-urls": peer,
		"initial-cluster":             "default=" + peer,
	}
}

// set puts value at path, making the maps on the way.
func set(conf map[string]any, path []string, value any) {
	for _, key := range path[:len(path)-1] {
		next, ok := conf[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			conf[key] = next
		}
		conf = next
	}
	conf[path[len(path)-1]] = value
}

func writeYAML(path string, v any) error {
	raw, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o644)
}

// portBlock is a range of ports that no other test process on this machine
// takes while the lock is held.
type portBlock struct {
	base int
	lock *os.File
}

// The blocks lie below the range from which Linux gives out ports by itself
// (32768 and up), so no passing connection takes one.
const (
	firstPort  = 21000
	portStride = 16
	portBlocks = 64
)

func takePorts() (*portBlock, error) {
	for n := range portBlocks {
		b := &portBlock{base: firstPort + n*portStride}
		ok, err := b.take()
		if err != nil {
			return nil, err
		}
		if ok {
			return b, nil
		}
	}
	return nil, errors.New("milvus server: all port blocks are taken")
}

// take locks the block and reports whether it is free. The lock is the
// kernel's: it ends with the process.
func (b *portBlock) take() (bool, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("videosim-ports-%d.lock", b.base))
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return false, err
	}
	b.lock = lock
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && b.bindable() {
		return true, nil
	}
	b.release()
	return false, nil
}

// bindable reports whether every port of the block is free.
func (b *portBlock) bindable() bool {
	for i := range portCount {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", b.port(i)))
		if err != nil {
			return false
		}
		if l.Close() != nil {
			return false
		}
	}
	return true
}

func (b *portBlock) port(i int) int { return b.base + i }

func (b *portBlock) release() {
	_ = b.lock.Close() // nothing was written; closing gives the lock up
}
