package vecdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"videosim/shared/errs"
)

// openIndexed is a collection of 2,000 clustered rows under this index type.
func openIndexed(t *testing.T, kind string) (*Milvus, [][]float32) {
	t.Helper()
	cfg := openMilvus(t, 8).cfg
	cfg.Index = kind
	m := openConfigured(t, cfg, fmt.Sprintf("t%08d", collections.Add(1)), 16)
	vectors := clustered(rand.New(rand.NewPCG(1, 1)), 2000, 16, 20, 0.8)
	fill(t, m, vectors)
	return m, vectors
}

// Settle returns when every row has the index that was asked for, and a
// process whose settings name another type searches it all the same.
func TestMilvusIndexTypes(t *testing.T) {
	for kind, other := range map[string]string{IndexHNSW: IndexIVFSQ8, IndexIVFSQ8: IndexHNSW} {
		t.Run(kind, func(t *testing.T) {
			m, vectors := openIndexed(t, kind)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			if err := m.Settle(ctx); err != nil {
				t.Fatal(err)
			}
			if s, err := m.IndexState(ctx); err != nil || s.Kind != kind || s.Rows < 2000 || s.Pending != 0 {
				t.Errorf("index %+v (%v), expected %s over 2000 rows", s, err, kind)
			}
			waitIndexLoaded(ctx, t, m)
			cfg := m.cfg
			cfg.Index = other
			fingerprint := strings.TrimPrefix(m.collection, collectionPrefix)
			attached, err := AttachMilvus(ctx, cfg, fingerprint)
			if err != nil {
				t.Fatal(err)
			}
			defer attached.Close()
			for name, m := range map[string]*Milvus{"its maker": m, "other settings": openConfigured(t, cfg, fingerprint, 16), "an operator": attached} {
				for _, k := range []int{1, 500} {
					got, err := m.Search(ctx, Query{Vector: vectors[5], K: k})
					if err != nil || len(got) != k || got[0].Record.ID != videoID(5) {
						t.Errorf("%s: k %d found %d (%v), expected %s first", name, k, len(got), err, videoID(5))
					}
				}
			}
		})
	}
}

// The test server is built without DiskANN, as every server from the Python
// wheel is. Nothing is lost there, and Settle does not take its word that the
// index is finished.
func TestMilvusWithoutDiskANN(t *testing.T) {
	m, vectors := openIndexed(t, IndexDiskANN)
	c := connected(t, m)
	if err := c.Flush(t.Context(), m.collection, false); err != nil { // takes a busy machine long
		t.Fatal(err)
	}
	c.Service = early{c.Service}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	err := m.Settle(ctx)
	if errs.KindOf(err) != errs.Unavailable {
		t.Fatalf("settled: %v", err)
	}
	for _, part := range []string{"2000 of 2000 rows", "diskann", "server's log", m.Collection()} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not mention %q", err, part)
		}
	}
	got, err := m.Search(context.Background(), Query{Vector: vectors[5], K: 3})
	if err != nil || len(got) != 3 || got[0].Record.ID != videoID(5) {
		t.Errorf("search without an index found %v (%v)", got, err)
	}
}

// early says that a caller's time is over a moment before it is, as a server
// may whose clock is that moment ahead.
type early struct{ milvuspb.MilvusServiceClient }

func (e early) DescribeIndex(ctx context.Context, in *milvuspb.DescribeIndexRequest, opts ...grpc.CallOption) (*milvuspb.DescribeIndexResponse, error) {
	const moment = 50 * time.Millisecond
	if end, ok := ctx.Deadline(); ok && time.Until(end) < 4*moment {
		time.Sleep(time.Until(end) - moment)
		return nil, status.Error(codes.DeadlineExceeded, "context deadline exceeded")
	}
	return e.MilvusServiceClient.DescribeIndex(ctx, in, opts...)
}

// recorder notes how consistent the reads are that pass through it.
type recorder struct {
	milvuspb.MilvusServiceClient
	mu    sync.Mutex
	calls []string
}

// note takes the timestamp by which the SDK says what it wants: 0 is Strong.
func (r *recorder) note(call string, guarantee uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	level := map[uint64]string{client.StrongTimestamp: "Strong", client.BoundedTimestamp: "Bounded"}[guarantee]
	r.calls = append(r.calls, call+" "+level)
}

func (r *recorder) Search(ctx context.Context, in *milvuspb.SearchRequest, opts ...grpc.CallOption) (*milvuspb.SearchResults, error) {
	r.note("search", in.GetGuaranteeTimestamp())
	return r.MilvusServiceClient.Search(ctx, in, opts...)
}

func (r *recorder) Query(ctx context.Context, in *milvuspb.QueryRequest, opts ...grpc.CallOption) (*milvuspb.QueryResults, error) {
	r.note("query", in.GetGuaranteeTimestamp())
	return r.MilvusServiceClient.Query(ctx, in, opts...)
}

// Only Barrier, which the writer calls, waits for Milvus's tick.
func TestMilvusReadsAreBounded(t *testing.T) {
	m := openMilvus(t, 8)
	fill(t, m, [][]float32{{1, 0, 0, 0, 0, 0, 0, 0}})
	ctx := context.Background()
	if err := m.Barrier(ctx); err != nil {
		t.Fatal(err)
	}
	c := connected(t, m)
	r := &recorder{MilvusServiceClient: c.Service}
	c.Service = r
	vector := []float32{1, 0, 0, 0, 0, 0, 0, 0}
	for _, call := range []struct {
		name string
		do   func() error
		want string
	}{
		{"search", func() error { _, err := m.Search(ctx, Query{Vector: vector, K: 1}); return err }, "search Bounded"},
		{"search with embeddings", func() error { _, err := m.Search(ctx, Query{Vector: vector, K: 1, WithEmbedding: true}); return err }, "search Bounded, query Bounded"},
		{"fetch", func() error { _, err := m.Fetch(ctx, []string{videoID(0)}); return err }, "query Bounded"},
		{"fetch what is not there", func() error { _, err := m.Fetch(ctx, []string{"nobody"}); return err }, "query Bounded, query Bounded"},
		{"count", func() error { _, err := m.Count(ctx); return err }, "query Bounded"},
		{"ready", func() error { return m.Ready(ctx) }, "query Bounded"},
		{"barrier", func() error { return m.Barrier(ctx) }, "query Strong"},
	} {
		r.calls = nil
		if err := call.do(); err != nil {
			t.Fatalf("%s: %v", call.name, err)
		}
		if got := strings.Join(r.calls, ", "); got != call.want {
			t.Errorf("%s makes the calls %s, expected %s", call.name, got, call.want)
		}
	}
}

// What a write's caller is told after Barrier is what every later read shows,
// edits and deletions alike; and without Barrier no read is older than the
// bound that DESIGN.md states.
func TestMilvusFreshness(t *testing.T) {
	m := openMilvus(t, 8)
	reader := openConfigured(t, m.cfg, strings.TrimPrefix(m.collection, collectionPrefix), 8)
	ctx, vector := context.Background(), []float32{1, 0, 0, 0, 0, 0, 0, 0}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// seen is the sequence of the one video, 0 where it is not found.
	seen := func() uint64 {
		t.Helper()
		hits, err := reader.Search(ctx, Query{Vector: vector, K: 10})
		must(err)
		records, err := reader.Fetch(ctx, []string{videoID(0)})
		must(err)
		if len(hits) != len(records) || len(hits) == 1 && hits[0].Record.Sequence != records[0].Sequence {
			return 1 << 40 // between two versions
		}
		if len(hits) == 0 {
			return 0
		}
		return hits[0].Record.Sequence
	}
	var slowest time.Duration
	for round := range uint64(10) {
		r := record(0, vector)
		r.Sequence = round + 1
		must(m.Upsert(ctx, []Record{r}))
		if round%2 == 0 {
			must(m.Barrier(ctx))
			if got := seen(); got != r.Sequence {
				t.Errorf("after the barrier, sequence %d is shown, expected %d", got, r.Sequence)
			}
			must(m.Delete(ctx, []string{r.ID}))
			must(m.Barrier(ctx))
			if got := seen(); got != 0 {
				t.Errorf("after the barrier, a deleted video is shown at sequence %d", got)
			}
			continue
		}
		wrote := time.Now()
		for seen() != r.Sequence {
			if time.Since(wrote) > stalenessBound {
				t.Fatalf("sequence %d is not shown %s after its write", r.Sequence, stalenessBound)
			}
		}
		slowest = max(slowest, time.Since(wrote))
	}
	t.Logf("without a barrier, a write is shown after %s at most", slowest.Round(time.Millisecond))
}

// stalenessBound is Milvus's own (common.gracefulTime).
const stalenessBound = 5 * time.Second
