package vecdb

import (
	"os"
	"strconv"
	"testing"
)

// benchRows is the sizes that benchmarks run at.
func benchRows(b *testing.B) []int {
	rows := []int{31514, 100000} // the challenge's video count, and a round one
	if s := os.Getenv("BENCH_ROWS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatalf("BENCH_ROWS: %v", err)
		}
		rows = append(rows, n)
	}
	return rows
}
