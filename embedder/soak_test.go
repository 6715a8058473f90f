//go:build soak

package embedder

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSoakServiceMemory runs the service for SOAK_TIME with its stream full and
// a client that asks without pause. Lengths are the challenge's, so that nearly
// every batch has a shape of its own. What the process holds in memory, NATS
// server included, must not grow after the warm-up.
func TestSoakServiceMemory(t *testing.T) {
	total, err := time.ParseDuration(environment("SOAK_TIME", "20m"))
	if err != nil {
		t.Fatal(err)
	}
	u := startUnderLoad(t)
	defer u.close()
	const every = 10 * time.Second
	warm := total / 10 // 2 of 20 minutes
	start, looked := time.Now(), time.Now()
	var before, after []float64 // resident MiB in the minute after the warm-up, and in the last
	asked, embedded := 0, 0
	for time.Since(start) < total && !t.Failed() {
		u.ask(asked)
		asked++
		if time.Since(looked) < every {
			continue
		}
		looked = time.Now()
		for _, c := range u.model.take() {
			embedded += len(c.ids)
		}
		rss, at := residentMiB(t), time.Since(start)
		switch {
		case at > warm && at <= warm+total/20:
			before = append(before, rss)
		case at > total-total/20:
			after = append(after, rss)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%s: resident %.0f MiB, of it Go's %.0f; %d queries, %d videos", at.Round(time.Second), rss, float64(m.Sys-m.HeapReleased)/(1<<20), asked, embedded)
	}
	if len(before) == 0 || len(after) == 0 {
		t.Fatalf("%s is too short to compare its ends", total)
	}
	first, last := quantile(before, 0.5), quantile(after, 0.5)
	t.Logf("resident %.0f MiB after the warm-up, %.0f MiB at the end: %+.1f %%", first, last, 100*(last/first-1))
	if last > 1.05*first {
		t.Errorf("resident memory grew from %.0f to %.0f MiB", first, last)
	}
}

// residentMiB is the memory of this process that lies in RAM.
func residentMiB(t testing.TB) float64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(data))[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * float64(os.Getpagesize()) / (1 << 20)
}
