package gateway

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"videosim/shared/vecdb"
)

// slowIndex takes 10 ms a search, as a busy one would.
type slowIndex struct{ vecdb.Index }

func (x slowIndex) Search(ctx context.Context, q vecdb.Query) ([]vecdb.Hit, error) {
	time.Sleep(10 * time.Millisecond)
	return x.Index.Search(ctx, q)
}

// noise is what a quiet caller meets while a noisy one asks with 24 clients.
func noise(t *testing.T, share int) (refused int, median time.Duration, noisyRefused int64) {
	t.Helper()
	r := newRig(t, withKeys, func(c *Config) { c.MaxInFlight, c.KeyInFlight = 16, share })
	r.fill(10)
	r.engine.Index = slowIndex{r.index}
	ask := func(key string) int { return status(t, r.url, key) }
	var noisy sync.WaitGroup
	var over atomic.Bool
	var turnedAway atomic.Int64
	for range 24 {
		noisy.Go(func() {
			for !over.Load() {
				if ask("r-secret") == http.StatusTooManyRequests {
					turnedAway.Add(1)
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	took := make([]time.Duration, 40)
	for i := range took {
		start := time.Now()
		if ask("b-secret") != http.StatusOK {
			refused++
		}
		took[i] = time.Since(start)
	}
	over.Store(true)
	noisy.Wait()
	slices.Sort(took)
	return refused, took[len(took)/2], turnedAway.Load()
}

// A noisy key takes its share of the slots and no more: the quiet one is never
// refused and waits about as long as a search takes. The same without shares
// shows that the test can fail.
func TestQuietCallersAreProtected(t *testing.T) {
	refused, median, turnedAway := noise(t, 8)
	if refused > 0 || turnedAway == 0 {
		t.Errorf("with shares: %d calls of the quiet key refused, %d of the noisy one", refused, turnedAway)
	}
	if median > 200*time.Millisecond {
		t.Errorf("the quiet key waits %s for a search of 10 ms", median)
	}
	if refused, _, _ := noise(t, 16); refused == 0 {
		t.Error("without shares nothing is refused: the test proves nothing")
	}
}
