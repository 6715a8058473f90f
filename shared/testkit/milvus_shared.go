package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// shared is the one server of a test process.
var shared struct {
	sync.Mutex
	server *MilvusServer
	err    error
}

// Milvus returns the address of a Milvus server that all tests of this
// process share; the first call starts it. It ends with the process. Tests
// keep apart by their own fingerprints.
func Milvus(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = startShared()
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server.Address()
}

// startShared keeps the data in a folder named after the server's ports, so
// that what an earlier process left behind is removed by the next.
func startShared() (*MilvusServer, error) {
	ports, err := takePorts()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("videosim-milvus-%d", ports.base))
	if err := os.RemoveAll(dir); err != nil {
		ports.release()
		return nil, err
	}
	return startMilvus(dir, ports)
}

// StopMilvus ends the shared server and removes its data. A TestMain may call
// it; without, the data stays until the next run.
func StopMilvus() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return nil
	}
	server := shared.server
	shared.server = nil
	if err := server.Kill(); err != nil {
		return err
	}
	defer server.ports.release()
	return os.RemoveAll(server.dir)
}
