package gateway

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"testing"
	"time"
)

// labelLines writes lines of a label file as they are asked for, so that the
// test itself holds none.
type labelLines struct {
	rng    *rand.Rand
	videos int
	left   int
	buf    []byte
}

func (l *labelLines) Read(p []byte) (int, error) {
	for len(l.buf) < len(p) && l.left > 0 {
		l.left--
		l.buf = fmt.Appendf(l.buf, "v%d\tv%d\t%.2f\n", l.rng.IntN(l.videos), l.rng.IntN(l.videos), float64(l.rng.IntN(21))/20)
	}
	if len(l.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(p, l.buf)
	l.buf = l.buf[:copy(l.buf, l.buf[n:])]
	return n, nil
}

// heapPeak runs work and returns the most bytes that live and dead objects
// took meanwhile, beyond what they took before.
func heapPeak(work func()) int64 {
	sample := []runtimemetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() int64 {
		runtimemetrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	debug.FreeOSMemory()
	before, peak := read(), int64(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	for {
		select {
		case <-done:
			return peak - before
		case <-time.After(2 * time.Millisecond):
			peak = max(peak, read())
		}
	}
}

// A label file of the real size goes through both calls, and five of them take
// the stream no more memory than one: it keeps a chunk, not the file.
func TestLabelFileInConstantMemory(t *testing.T) {
	const videos, lines = 20_000, 67_899
	url := served(t, videos)
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // a lazy collector would hide what is kept
	send := func(path string, n int) int64 {
		return heapPeak(func() {
			body := &labelLines{rng: rand.New(rand.NewPCG(1, 1)), videos: videos, left: n}
			res, err := http.Post(url+path, tsv, body)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if size, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 || size == 0 {
				t.Errorf("%s: %s, %d bytes, %v", path, res.Status, size, err)
			}
			if path == "/v1/similarity" && res.Trailer.Get(trailerPairs) != fmt.Sprint(n) {
				t.Errorf("trailers %v, want %d pairs", res.Trailer, n)
			}
		})
	}
	send("/v1/similarity", lines) // fills pools
	one, five, evaluated := send("/v1/similarity", lines), send("/v1/similarity", 5*lines), send("/v1/evaluations", lines)
	t.Logf("peak heap: one file %.1f MB, five %.1f MB, evaluation %.1f MB", mega(one), mega(five), mega(evaluated))
	if limit := int64(96 << 20); one > limit || five > limit || evaluated > limit {
		t.Errorf("more than %.0f MB", mega(limit))
	}
	if five > 2*one+16<<20 {
		t.Error("five files take more memory than one")
	}
}

func mega(n int64) float64 { return float64(n) / (1 << 20) }
