package vecdb_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"videosim/shared/testkit"
	"videosim/shared/vecdb"
	"videosim/shared/vecdb/vecdbtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testkit.StopMilvus(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestExactConformance(t *testing.T) {
	vecdbtest.Run(t, func(t *testing.T) vecdb.Index { return vecdb.NewExact(vecdbtest.Dim) })
}

func TestMilvusConformance(t *testing.T) {
	vecdbtest.Run(t, func(t *testing.T) vecdb.Index { return openMilvus(t, vecdbtest.Dim) })
}

var collections atomic.Int64

// openMilvus opens a new collection on the test server, ready to answer.
func openMilvus(t testing.TB, dim int) *vecdb.Milvus {
	t.Helper()
	cfg := vecdb.DefaultMilvus(testkit.Milvus(t))
	cfg.Timeout = 30 * time.Second // eight builds share the machine at times
	return openConfigured(t, cfg, dim)
}

func openConfigured(t testing.TB, cfg vecdb.MilvusConfig, dim int) *vecdb.Milvus {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := vecdb.OpenMilvus(ctx, cfg, fmt.Sprintf("test%08d", collections.Add(1)), dim)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return m
}
