package gateway

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"videosim/shared/errs"
)

// knownCallers bounds the rate limiters in memory; the caller that has been
// quiet for longest is forgotten first, and begins with a full bucket again.
const knownCallers = 10_000

// limiter gives every caller a bucket of its own, so that a noisy one takes
// nothing from the others.
type limiter struct {
	rate    rate.Limit
	burst   int
	callers *lru.Cache[string, *rate.Limiter]

	share int // calls of one key at work at once
	mu    sync.Mutex
	work  map[string]int // calls at work by key; none at work: no entry
}

func newLimiter(cfg Config) (*limiter, error) {
	callers, err := lru.New[string, *rate.Limiter](knownCallers)
	return &limiter{rate: rate.Limit(cfg.RateLimit), burst: cfg.RateBurst, callers: callers, share: cfg.KeyInFlight, work: map[string]int{}}, err
}

// take reserves one call, or says how long to wait for one.
func (l *limiter) take(caller string, now time.Time) (wait time.Duration, ok bool) {
	bucket, found := l.callers.Get(caller)
	if !found {
		bucket = rate.NewLimiter(l.rate, l.burst)
		if earlier, raced, _ := l.callers.PeekOrAdd(caller, bucket); raced {
			bucket = earlier
		}
	}
	r := bucket.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// limitRate refuses a caller that asks too often.
func (g *server) limitRate(c *gin.Context) {
	if g.limiter.rate == 0 {
		return
	}
	caller := c.GetString(keyCaller)
	if caller == "" {
		caller, _, _ = net.SplitHostPort(c.Request.RemoteAddr)
	}
	wait, ok := g.limiter.take(caller, time.Now())
	if ok {
		return
	}
	c.Header("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	g.fail(c, refuse("rate-limited", http.StatusTooManyRequests,
		fmt.Sprintf("expected at most %g calls a second on average and %d at once", float64(g.limiter.rate), g.limiter.burst)))
}

// limitInFlight refuses what comes when all slots are taken: waiting here
// would only make a queue that nobody sees.
func (g *server) limitInFlight(c *gin.Context) {
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
		c.Next()
	default:
		g.fail(c, errs.New(errs.Overloaded, "%d calls are at work already", cap(g.slots)))
	}
}

// limitCaller refuses a key that has its share of the slots at work, so that
// the others find some free. Without keys there is nobody to protect.
func (g *server) limitCaller(c *gin.Context) {
	caller := c.GetString(keyCaller)
	if caller == "" {
		return
	}
	if !g.limiter.begin(caller) {
		g.fail(c, errs.New(errs.Overloaded, "%d calls of the key %q are at work already", g.limiter.share, caller))
		return
	}
	defer g.limiter.end(caller)
	c.Next()
}

func (l *limiter) begin(caller string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.work[caller] >= l.share {
		return false
	}
	l.work[caller]++
	return true
}

func (l *limiter) end(caller string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.work[caller]--; l.work[caller] == 0 {
		delete(l.work, caller)
	}
}
