package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"videosim/shared/bundle"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/vecdb"
)

// What the gateway is measured with, beside Milvus alone.
const (
	besideRows    = 50_000
	besideDim     = 256
	besideAsked   = 2_000 // videos asked about, again and again
	besideClients = 8
	besideSlice   = 500 * time.Millisecond // one door's turn
	besideTurns   = 20
	besidePairs   = 20_000
	besideCalls   = 1_500 // of each door, one at a time
	besideRate    = 0.5   // of what one client gets from Milvus alone, asked for at fixed times
	besidePaced   = 1_500 // calls of each door at that rate
	besideHeld    = 100 * time.Millisecond
)

// BenchmarkBesideMilvus asks Milvus for the ten nearest by three doors in
// turns: the SDK's Search with the gateway's parameters, the gateway by vector,
// and the gateway by id. The gateway's caller stands in this process too and
// is counted. make bench-gateway runs it.
//
// Three loads, because they answer different questions: eight clients, each
// asking again at once, tell how many queries a second there are (Milvus then
// fills every core, so a tail is mostly waiting for one); one client, and
// calls at fixed times at half the rate that one client gets, tell what the
// gateway adds to a call. Milvus itself stops for half a second or more once in
// a while; the calls that it holds for besideHeld or longer come back all at
// once, so they are counted, and left out of what calls took besides.
func BenchmarkBesideMilvus(b *testing.B) {
	m, vectors := milvusOf(b)
	url := besideServer(b, m)
	bare := bareSearch(b, m, vectors)
	caller := newCaller(b, strings.TrimPrefix(url, "http://"))
	asked := make([]string, besideAsked)
	for i := range asked {
		body := asJSON(b, map[string]any{"positive": []any{map[string]any{"embedding": vectors[i]}}, "k": 10})
		asked[i] = fmt.Sprintf("POST /v1/similar HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	byVector := func(i int) (time.Duration, error) { return caller.ask(asked[i]) }
	byID := func(i int) (time.Duration, error) {
		return caller.ask(fmt.Sprintf("GET /v1/videos/v%d/similar?k=10 HTTP/1.1\r\nHost: localhost\r\n\r\n", i))
	}
	cold := &asker{name: "id-cold", ask: byID}
	cold.each(b) // the gateway knows all asked vectors from here on
	doors := []*asker{{name: "bare", ask: bare}, {name: "vector", ask: byVector}, {name: "id", ask: byID}}
	for b.Loop() {
		for range besideTurns {
			for _, d := range doors {
				d.turn(b)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // says nothing of turns
	printLoad(b, fmt.Sprintf("%d clients", besideClients), append(doors, cold))
	for _, d := range doors {
		b.ReportMetric(d.rate(), d.name+"-queries/s")
	}
	single := again(doors)
	oneByOne(b, single)
	printLoad(b, "1 client", single)
	b.ReportMetric(milliseconds(percentile(single[2].own, 99)), "id-own-p99-ms")
	paced := again(doors)
	rate := besideRate / single[0].mean().Seconds()
	atFixedTimes(b, paced, rate)
	printLoad(b, fmt.Sprintf("%.0f calls/s", rate), paced)
	b.ReportMetric(milliseconds(percentile(paced[2].own, 99)), "id-own-p99-half-load-ms")
	b.ReportMetric(pairsRate(b, url), "pairs/s")
}

// again are the same doors with nothing asked yet.
func again(doors []*asker) []*asker {
	fresh := make([]*asker, len(doors))
	for i, d := range doors {
		fresh[i] = &asker{name: d.name, ask: d.ask}
	}
	return fresh
}

// printLoad prints what each door took under a load, beside the first.
func printLoad(b *testing.B, load string, doors []*asker) {
	b.Helper()
	alone := doors[0]
	for _, d := range doors {
		p50, p99 := percentile(d.took, 50), percentile(d.took, 99)
		line := fmt.Sprintf("%-12s %-8s %6d queries p50 %.2f ms (%+.2f) p99 %.2f ms (%+.2f)", load, d.name, len(d.took),
			milliseconds(p50), milliseconds(p50-percentile(alone.took, 50)), milliseconds(p99), milliseconds(p99-percentile(alone.took, 99)))
		if d.spent > 0 {
			line += fmt.Sprintf(" %.1f /s (%.2f of bare)", d.rate(), d.rate()/alone.rate())
		}
		if d != alone {
			line += fmt.Sprintf("; besides Milvus's search: p50 %.2f ms, p90 %.2f ms, p99 %.2f ms (%d held)",
				milliseconds(percentile(d.own, 50)), milliseconds(percentile(d.own, 90)), milliseconds(percentile(d.own, 99)), d.held)
		}
		b.Log(line)
	}
}

// oneByOne asks about the same video by each door, one call at a time.
func oneByOne(b *testing.B, doors []*asker) {
	b.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	for range besideCalls {
		video := rng.IntN(besideAsked)
		for _, d := range doors {
			start := time.Now()
			milvus, err := d.ask(video)
			if err != nil {
				b.Fatalf("%s: %v", d.name, err)
			}
			d.add(time.Since(start), milvus)
		}
	}
}

// atFixedTimes asks by the doors in turns at a fixed rate, whether or not
// earlier calls have been answered; a call's time runs from when it was due.
func atFixedTimes(b *testing.B, doors []*asker, rate float64) {
	b.Helper()
	rng := rand.New(rand.NewPCG(4, 4))
	var calls sync.WaitGroup
	var mu sync.Mutex
	start := time.Now()
	for n := range besidePaced * len(doors) {
		d, video := doors[n%len(doors)], rng.IntN(besideAsked)
		due := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		calls.Go(func() {
			asked := time.Now()
			milvus, err := d.ask(video)
			if err != nil {
				b.Errorf("%s: %v", d.name, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			d.add(time.Since(due), milvus+asked.Sub(due)) // waking up late is no door's cost
		})
	}
	calls.Wait()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// milvusOf is a real Milvus whose index covers clustered rows.
func milvusOf(b *testing.B) (*vecdb.Milvus, [][]float32) {
	b.Helper()
	cfg := vecdb.DefaultMilvus(testkit.Milvus(b))
	b.Cleanup(func() {
		if err := testkit.StopMilvus(); err != nil {
			b.Error(err)
		}
	})
	cfg.Timeout, cfg.ConnectTimeout = time.Minute, time.Minute // a busy machine is no failure
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	m, err := vecdb.OpenMilvus(ctx, cfg, testModel, besideDim)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Close() })
	if err := m.WaitReady(ctx); err != nil {
		b.Fatal(err)
	}
	vectors := clusteredVectors(besideRows)
	records := make([]vecdb.Record, besideRows)
	for i, v := range vectors {
		records[i] = vecdb.Record{ID: fmt.Sprintf("v%d", i), Embedding: v, Title: "a title of some length", TagIDs: []int64{1, 2}, Sequence: uint64(i + 1)}
	}
	for part := range slices.Chunk(records, 1000) {
		if err := m.Upsert(ctx, part); err != nil {
			b.Fatal(err)
		}
	}
	if err := m.Barrier(ctx); err != nil {
		b.Fatal(err)
	}
	if err := m.Settle(ctx); err != nil {
		b.Fatal(err)
	}
	return m, vectors
}

// clusteredVectors lie around 500 centres, as videos of 500 subjects would.
func clusteredVectors(n int) [][]float32 {
	const noise = 0.8
	rng := rand.New(rand.NewPCG(9, 9))
	around := func(centre []float32, scale float64) []float32 {
		v := slices.Clone(centre)
		for i := range v {
			v[i] += float32(scale * rng.NormFloat64())
		}
		return v
	}
	centres, out := make([][]float32, 500), make([][]float32, n)
	for i := range centres {
		centres[i] = around(make([]float32, besideDim), 1)
	}
	for i := range out {
		out[i] = normalised(around(centres[rng.IntN(len(centres))], noise))
	}
	return out
}

// besideServer is a gateway as it runs: it logs, traces, counts and samples.
func besideServer(b *testing.B, m *vecdb.Milvus) (url string) {
	b.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = null.Close() })
	env := Env{Env: service.NewTestEnv(b), Bus: testkit.Bus(b), Index: timedIndex{m}}
	env.Log = slog.New(slog.NewJSONHandler(null, nil))
	cfg := testConfig()
	cfg.VectorCache, cfg.QualityInterval = 20_000, time.Hour
	progress := &handProgress{}
	progress.set(besideRows)
	g, err := newServer(cfg, env, bundle.Manifest{Fingerprint: testModel, EmbeddingDim: besideDim}, progress)
	if err != nil {
		b.Fatal(err)
	}
	routes := g.routes()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		routes.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), timingKey{}, w.Header())))
	}))
	b.Cleanup(s.Close)
	return s.URL
}

// timedIndex tells in a header how long Milvus took, so that what an answer
// took besides is known call by call, whatever Milvus's own times.
type timedIndex struct{ *vecdb.Milvus }

type timingKey struct{}

const timingHeader = "Milvus-Nanoseconds"

func (x timedIndex) Search(ctx context.Context, q vecdb.Query) ([]vecdb.Hit, error) {
	start := time.Now()
	hits, err := x.Milvus.Search(ctx, q)
	if h, ok := ctx.Value(timingKey{}).(http.Header); ok {
		h.Set(timingHeader, strconv.FormatInt(time.Since(start).Nanoseconds(), 10))
	}
	return hits, err
}

// bareSearch is the SDK's call: the fields, the width of the search and the
// consistency are those of vecdb.
func bareSearch(b *testing.B, m *vecdb.Milvus, vectors [][]float32) func(int) (time.Duration, error) {
	b.Helper()
	c, err := client.NewClient(b.Context(), client.Config{Address: testkit.Milvus(b)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	waitIndexLoaded(b, c.(*client.GrpcClient), m.Collection())
	params, err := entity.NewIndexHNSWSearchParam(256)
	if err != nil {
		b.Fatal(err)
	}
	fields := []string{"title", "category_id", "tag_ids", "published_at", "thumbnail_url", "sequence"}
	return func(i int) (time.Duration, error) {
		found, err := c.Search(context.Background(), m.Collection(), nil, "", fields, []entity.Vector{entity.FloatVector(vectors[i])},
			"embedding", entity.IP, 10, params, client.WithSearchQueryConsistencyLevel(entity.ClBounded))
		if err == nil && (len(found) != 1 || found[0].ResultCount != 10) {
			return 0, fmt.Errorf("found %+v", found)
		}
		return 0, err
	}
}

// waitIndexLoaded returns when searches use the index: a built one is loaded
// some time after.
func waitIndexLoaded(b *testing.B, c *client.GrpcClient, collection string) {
	b.Helper()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		segments, err := c.GetQuerySegmentInfo(b.Context(), collection)
		if err != nil {
			b.Fatal(err)
		}
		rows, loaded := int64(0), true
		for _, s := range segments {
			rows += s.NumRows
			loaded = loaded && s.IndexID != 0
		}
		if loaded && rows >= besideRows {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("the index is not loaded: %+v", segments)
		}
	}
}

// caller asks by HTTP with little more than the bytes that it takes. Go's own
// client would pass each call through two goroutines of its own, whose wait
// for a core is not the gateway's.
type caller struct {
	address string
	idle    chan *connection
}

type connection struct {
	net.Conn
	answers *bufio.Reader
}

func newCaller(b *testing.B, address string) *caller {
	c := &caller{address: address, idle: make(chan *connection, 1024)}
	b.Cleanup(func() {
		close(c.idle)
		for conn := range c.idle {
			_ = conn.Close()
		}
	})
	return c
}

// ask sends a request and returns how long Milvus took for the answer.
func (c *caller) ask(request string) (time.Duration, error) {
	var conn *connection
	select {
	case conn = <-c.idle:
	default:
		fresh, err := net.Dial("tcp", c.address)
		if err != nil {
			return 0, err
		}
		conn = &connection{fresh, bufio.NewReader(fresh)}
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(conn.answers, nil)
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %s", res.Status)
	}
	c.idle <- conn
	ns, err := strconv.ParseInt(res.Header.Get(timingHeader), 10, 64)
	return time.Duration(ns), err
}

// asker is a way to ask, and how long its answers took.
type asker struct {
	name  string
	ask   func(i int) (milvus time.Duration, err error)
	took  []time.Duration
	own   []time.Duration // took less what Milvus took, but for the calls that it held
	held  int
	spent time.Duration
}

// add notes one call: what it took, and what of that Milvus took.
func (d *asker) add(took, milvus time.Duration) {
	d.took = append(d.took, took)
	if milvus >= besideHeld {
		d.held++
		return
	}
	d.own = append(d.own, took-milvus)
}

// turn lets all clients ask for one slice of time.
func (d *asker) turn(b *testing.B) {
	b.Helper()
	until := time.Now().Add(besideSlice)
	d.with(b, func(rng *rand.Rand) (int, bool) { return rng.IntN(besideAsked), time.Now().Before(until) })
}

// each asks about every video once.
func (d *asker) each(b *testing.B) {
	b.Helper()
	next := make(chan int, besideAsked)
	for i := range besideAsked {
		next <- i
	}
	close(next)
	d.with(b, func(*rand.Rand) (int, bool) { i, more := <-next; return i, more })
}

func (d *asker) with(b *testing.B, next func(*rand.Rand) (int, bool)) {
	b.Helper()
	var clients sync.WaitGroup
	var mu sync.Mutex
	start := time.Now()
	for c := range besideClients {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(len(d.took)), uint64(c)))
			own := &asker{}
			for i, more := next(rng); more; i, more = next(rng) {
				asked := time.Now()
				milvus, err := d.ask(i)
				if err != nil {
					b.Errorf("%s: %v", d.name, err)
					return
				}
				own.add(time.Since(asked), milvus)
			}
			mu.Lock()
			defer mu.Unlock()
			d.took, d.own, d.held = append(d.took, own.took...), append(d.own, own.own...), d.held+own.held
		})
	}
	clients.Wait()
	d.spent += time.Since(start)
}

func (d *asker) mean() time.Duration {
	var sum time.Duration
	for _, t := range d.took {
		sum += t
	}
	return sum / time.Duration(len(d.took))
}

func (d *asker) rate() float64 { return float64(len(d.took)) / d.spent.Seconds() }

func percentile(took []time.Duration, p int) time.Duration {
	slices.Sort(took)
	return took[min(len(took)-1, len(took)*p/100)]
}

// pairsRate is lines of two ids scored a second.
func pairsRate(b *testing.B, url string) float64 {
	b.Helper()
	rng := rand.New(rand.NewPCG(2, 2))
	var text strings.Builder
	for range besidePairs {
		fmt.Fprintf(&text, "v%d\tv%d\t0.5\n", rng.IntN(besideRows), rng.IntN(besideRows))
	}
	start := time.Now()
	post(b, url+"/v1/similarity", text.String())
	return besidePairs / time.Since(start).Seconds()
}
