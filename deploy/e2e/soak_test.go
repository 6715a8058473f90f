//go:build soak

package e2e

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/procfs"

	"videosim/shared/event"
	"videosim/shared/testkit"
	"videosim/shared/video"
)

// TestSoakEmbedderMemory runs the embedder, a process of its own, for SOAK_TIME
// on a model of SOAK_PRESET with its stream full and a client that asks without
// pause. Lengths are the challenge's, so that nearly every batch has a shape of
// its own. What the process holds in memory must not grow after the warm-up.
func TestSoakEmbedderMemory(t *testing.T) {
	total, err := time.ParseDuration(environment("SOAK_TIME", "20m"))
	if err != nil {
		t.Fatal(err)
	}
	s := startSoak(t, environment("SOAK_PRESET", "tiny"))
	const every = 10 * time.Second
	warm := total / 10 // 2 of 20 minutes
	start, looked := time.Now(), time.Now()
	var before, after []float64 // resident MiB in the minute after the warm-up, and in the last
	asked := 0
	for time.Since(start) < total && !t.Failed() {
		s.ask(asked)
		asked++
		if time.Since(looked) < every {
			continue
		}
		looked = time.Now()
		rss, at := residentMiB(t, s.cmd.Process.Pid), time.Since(start)
		switch {
		case at > warm && at <= warm+total/20:
			before = append(before, rss)
		case at > total-total/20:
			after = append(after, rss)
		}
		m := s.metrics()
		gos := (m["go_memstats_sys_bytes"] - m["go_memstats_heap_released_bytes"]) / (1 << 20)
		t.Logf("%s: resident %.0f MiB, of it Go's %.0f; %d queries, %.0f videos", at.Round(time.Second), rss, gos, asked, m["videosim_embedder_videos_total"])
	}
	if len(before) == 0 || len(after) == 0 {
		t.Fatalf("%s is too short to compare its ends", total)
	}
	first, last := median(before), median(after)
	t.Logf("resident %.0f MiB after the warm-up, %.0f MiB at the end: %+.1f %%", first, last, 100*(last/first-1))
	if last > 1.05*first {
		t.Errorf("resident memory grew from %.0f to %.0f MiB", first, last)
	}
}

// soak is an embedder under load.
type soak struct {
	*onlyEmbedder
	videos []video.Video
}

// startSoak returns when the embedder is ready and its stream is being filled.
func startSoak(t *testing.T, preset string) *soak {
	const backlog = 512
	s := &soak{onlyEmbedder: startEmbedder(t, preset, 2*time.Minute, "--log-level", "warn")}
	s.videos = testkit.RealVideos(t, 4*backlog, s.FrameDim, 32, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var feeding sync.WaitGroup
	feeding.Go(func() { testkit.Feed(ctx, t, s.bus, s.Fingerprint, s.videos, backlog) })
	t.Cleanup(func() { cancel(); feeding.Wait() })
	return s
}

// ask sends the i-th query and waits for its answer.
func (s *soak) ask(i int) {
	e := event.FromVideo(s.videos[i%len(s.videos)])
	e.Id = "query-" + strconv.Itoa(i)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	reply, err := s.bus.RequestEmbed(ctx, s.Fingerprint, &event.EmbedRequest{Videos: []*event.VideoEvent{e}})
	if err == nil {
		r := reply.GetResults()[0]
		err = event.Fault(r.GetErrorKind(), "", r.GetError())
	}
	if err != nil {
		s.t.Errorf("query: %v", err)
	}
}

// metrics are the embedder's counters and gauges, summed over their labels.
func (s *soak) metrics() map[string]float64 {
	r, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	sums := make(map[string]float64)
	for name, f := range families {
		for _, m := range f.GetMetric() {
			sums[name] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sums
}

// residentMiB is the memory of a process that lies in RAM.
func residentMiB(t *testing.T, pid int) float64 {
	process, err := procfs.NewProc(pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := process.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return float64(stat.ResidentMemory()) / (1 << 20)
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}
