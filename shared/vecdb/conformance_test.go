package vecdb_test

import (
	"fmt"
	"os"
	"testing"

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
	vecdbtest.Run(t, func(t *testing.T) vecdb.Index { return vecdb.OpenTestMilvus(t, vecdbtest.Dim) })
}
