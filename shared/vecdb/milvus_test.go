package vecdb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"videosim/shared/errs"
	"videosim/shared/testkit"
)

// OpenTestMilvus is openMilvus for the tests outside the package.
func OpenTestMilvus(t testing.TB, dim int) *Milvus { return openMilvus(t, dim) }

var collections atomic.Int64

// openMilvus opens a new collection on the test server, ready to answer.
func openMilvus(t testing.TB, dim int) *Milvus {
	t.Helper()
	cfg := DefaultMilvus(testkit.Milvus(t))
	cfg.Timeout, cfg.ConnectTimeout = 30*time.Second, time.Minute // a busy machine is no failure
	return openConfigured(t, cfg, fmt.Sprintf("t%08d", collections.Add(1)), dim)
}

func openConfigured(t testing.TB, cfg MilvusConfig, fingerprint string, dim int) *Milvus {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := OpenMilvus(ctx, cfg, fingerprint, dim)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestMilvusErrorKinds(t *testing.T) {
	reply := func(code int32, reason string) error { return &statusError{code: code, reason: reason} }
	for _, c := range []struct {
		err  error
		want errs.Kind
	}{
		{context.DeadlineExceeded, errs.Unavailable},
		{fmt.Errorf("search: %w", context.Canceled), errs.Unavailable},
		{status.Error(codes.Unavailable, "connection refused"), errs.Unavailable},
		{status.Error(codes.DeadlineExceeded, ""), errs.Unavailable},
		{status.Error(codes.Canceled, "the client connection is closing"), errs.Unavailable},
		{status.Error(codes.Unauthenticated, "auth check failure"), errs.Unavailable},
		{status.Error(codes.ResourceExhausted, ""), errs.Overloaded},
		{status.Error(codes.Unimplemented, ""), errs.Internal},
		{reply(1, "service not ready"), errs.Unavailable},
		{reply(2, "service unavailable"), errs.Unavailable},
		{reply(3, "memory limit exceeded"), errs.Unavailable},
		{reply(7, "disk limit exceeded"), errs.Unavailable},
		{reply(4, "request limit exceeded"), errs.Overloaded},
		{reply(8, "rate limit exceeded"), errs.Overloaded},
		{reply(100, "collection not found"), errs.Unavailable},
		{reply(101, "collection not loaded"), errs.Unavailable},
		{reply(503, "channel not available"), errs.Unavailable},
		{reply(904, "node not match"), errs.Unavailable},
		{reply(1100, "cannot parse expression"), errs.Internal},
		{reply(65535, "fail to search: collection videos_x not loaded"), errs.Unavailable},
		{reply(65535, "can't find collection name default:videos"), errs.Unavailable},
		{reply(65535, "something new"), errs.Internal},
		{errs.Field("x", "wrong"), errs.Invalid},
	} {
		got := milvusError("search", c.err)
		if kind := errs.KindOf(got); kind != c.want {
			t.Errorf("%v: kind %s, expected %s", c.err, kind, c.want)
		}
	}
}

func TestMilvusExpression(t *testing.T) {
	day := time.UnixMilli(1700000000000)
	for _, c := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, ""},
		{Filter{Categories: []int64{1, -2}}, `category_id in [1,-2]`},
		{Filter{Tags: []int64{7}}, `array_contains_any(tag_ids, [7])`},
		{Filter{PublishedAfter: day}, `published_at >= 1700000000000 && published_at < 9223372036854775807`},
		{Filter{PublishedAfter: day.Add(1)}, `published_at >= 1700000000001 && published_at < 9223372036854775807`},
		{Filter{PublishedBefore: day}, `published_at >= -62135596799999 && published_at < 1700000000000`},
		{Filter{ExcludeIDs: []string{`a" or "`, "标\n"}}, `id not in ["a\u0022\u0020or\u0020\u0022","\u6807\u000a"]`},
		{Filter{Categories: []int64{1}, ExcludeIDs: []string{"🎬"}}, `category_id in [1] && id not in ["\U0001f3ac"]`},
	} {
		if got := expression(&c.filter); got != c.want {
			t.Errorf("expression of %+v is\n%s, expected\n%s", c.filter, got, c.want)
		}
	}
}

// Whatever an id holds, its literal has no byte that could end it or start
// anything else.
func FuzzMilvusQuote(f *testing.F) {
	for _, s := range []string{"", `"`, `\`, "标题", "\u2028", "a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		literal := strs([]string{s})
		inner, opened := strings.CutPrefix(literal, `["`)
		inner, closed := strings.CutSuffix(inner, `"]`)
		if !opened || !closed {
			t.Fatalf("literal %s", literal)
		}
		for i := range len(inner) {
			if !plain(inner[i]) && inner[i] != '\\' {
				t.Fatalf("literal %s holds %q", literal, inner[i])
			}
		}
		if back, err := strconv.Unquote(`"` + inner + `"`); err != nil || back != s {
			t.Fatalf("literal %s means %q (%v), expected %q", literal, back, err, s)
		}
	})
}

// Nothing listens there: opening succeeds all the same, and every call says at
// once what is wrong: the address and what to look at.
func TestMilvusWithoutServer(t *testing.T) {
	cfg := DefaultMilvus("127.0.0.1:1")
	cfg.ConnectTimeout = 300 * time.Millisecond
	ctx := context.Background()
	m, err := OpenMilvus(ctx, cfg, "abc", 8)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, search := m.Search(ctx, Query{Vector: make([]float32, 8), K: 1})
	_, fetch := m.Fetch(ctx, []string{"a"})
	_, count := m.Count(ctx)
	for name, err := range map[string]error{
		"ready": m.Ready(ctx), "search": search, "fetch": fetch, "count": count, "barrier": m.Barrier(ctx),
		"upsert": m.Upsert(ctx, []Record{record(1, make([]float32, 8))}), "delete": m.Delete(ctx, []string{"a"}),
	} {
		if kind := errs.KindOf(err); err == nil || kind != errs.Unavailable {
			t.Fatalf("%s: error %v of kind %s, expected unavailable", name, err, kind)
		}
		for _, part := range []string{"127.0.0.1:1", "running", "milvus-tls-enabled"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q does not mention %q", name, err, part)
			}
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the errors took %s, expected none to wait", took)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// connected is the SDK's client under an index that answers.
func connected(t testing.TB, m *Milvus) *client.GrpcClient {
	t.Helper()
	c, err := m.link.client()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMilvusRefusesAnotherSchema(t *testing.T) {
	first := openMilvus(t, 8)
	_, err := OpenMilvus(context.Background(), first.cfg, strings.TrimPrefix(first.collection, collectionPrefix), 16)
	if kind := errs.KindOf(err); err == nil || kind != errs.Invalid {
		t.Fatalf("error %v of kind %s, expected invalid", err, kind)
	}
	if !strings.Contains(err.Error(), "8 numbers, expected 16") || !strings.Contains(err.Error(), first.collection) {
		t.Errorf("error %q does not say what differs where", err)
	}
	if _, err := OpenMilvus(context.Background(), first.cfg, `x"; drop`, 8); errs.KindOf(err) != errs.Invalid {
		t.Errorf("fingerprint with signs: %v", err)
	}
}

// A second process finds what the first has written.
func TestMilvusReopens(t *testing.T) {
	first := openMilvus(t, 8)
	if err := first.Upsert(context.Background(), []Record{record(1, []float32{1, 0, 0, 0, 0, 0, 0, 0})}); err != nil {
		t.Fatal(err)
	}
	if err := first.Barrier(context.Background()); err != nil {
		t.Fatal(err)
	}
	second := openConfigured(t, first.cfg, strings.TrimPrefix(first.collection, collectionPrefix), 8)
	if n, err := second.Count(context.Background()); err != nil || n != 1 {
		t.Errorf("count %d (%v), expected 1", n, err)
	}
}

// While rows are being replaced, Milvus holds several versions of them in one
// segment. Inserts of existing ids make that last: the records behind them are
// found all the same.
func TestMilvusVersionsDoNotCrowdOut(t *testing.T) {
	const replaced, untouched = 10, 10
	m, ctx := openMilvus(t, 8), context.Background()
	near, far := []float32{1, 0, 0, 0, 0, 0, 0, 0}, []float32{0, 1, 0, 0, 0, 0, 0, 0}
	var records []Record
	var ids []string
	for i := range replaced + untouched {
		r := record(i, near)
		if i >= replaced {
			r.Embedding = far
		}
		records, ids = append(records, r), append(ids, r.ID)
	}
	if err := m.Upsert(ctx, records); err != nil {
		t.Fatal(err)
	}
	for range versions - 1 {
		if _, err := connected(t, m).Insert(ctx, m.collection, "", columnsOf(records[:replaced], m.dim)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Barrier(ctx); err != nil {
		t.Fatal(err)
	}
	if found, err := m.Fetch(ctx, append(ids, "nobody")); err != nil || len(found) != len(ids) {
		t.Errorf("%d records (%v), expected %d", len(found), err, len(ids))
	}
	for _, k := range []int{replaced, replaced + 1, len(ids), len(ids) + 1} {
		for _, whole := range []bool{false, true} {
			hits, err := m.Search(ctx, Query{Vector: near, K: k, WithEmbedding: whole})
			if want := min(k, len(ids)); err != nil || len(hits) != want {
				t.Errorf("k %d, with embeddings %t: %d hits (%v), expected %d", k, whole, len(hits), err, want)
			}
		}
	}
}

// aliasMoves is how often TestMilvusAlias moves the alias.
const aliasMoves = 5

// readAlias searches through the alias until it is stopped: every answer is
// whole and of one collection, which its number of rows and their sign tell. While
// the alias moves, 2.3.5 now and then forgets it for one search, and says so.
func readAlias(t *testing.T, m *Milvus) (stop func()) {
	t.Helper()
	c := connected(t, m)
	params, err := searchParams(IndexHNSW, 10)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int)
	go func() {
		seen, refused := map[int]int{}, 0
		for ctx.Err() == nil {
			found, err := c.Search(ctx, Alias, nil, "", nil, []entity.Vector{entity.FloatVector{1, 1, 0, 0, 0, 0, 0, 0}},
				fieldEmbedding, entity.IP, 10, params, client.WithSearchQueryConsistencyLevel(entity.ClBounded))
			switch {
			case ctx.Err() != nil:
			case err != nil && strings.Contains(err.Error(), "can't find collection") && kindOf(err) == errs.Unavailable:
				if refused++; refused > aliasMoves {
					t.Errorf("%d searches through the alias refused, more than it moved: %v", refused, err)
				}
			case err != nil || len(found) != 1:
				t.Errorf("a search through the alias: %v (%v)", found, err)
			case found[0].ResultCount == 2 && found[0].Scores[1] == 1, found[0].ResultCount == 3 && found[0].Scores[2] == -1:
				seen[found[0].ResultCount]++
			default:
				t.Errorf("a search through the alias found %d rows with %v", found[0].ResultCount, found[0].Scores)
			}
		}
		ended <- len(seen)
	}()
	return func() {
		cancel()
		if models := <-ended; models != 2 {
			t.Errorf("the alias showed %d collections, expected both", models)
		}
	}
}

func TestMilvusAlias(t *testing.T) {
	ctx := context.Background()
	a, b := openMilvus(t, 8), openMilvus(t, 8)
	name := func(m *Milvus) string { return strings.TrimPrefix(m.collection, collectionPrefix) }
	promoted := func(want string) {
		t.Helper()
		got, err := b.Promoted(ctx)
		if err != nil || got != want {
			t.Fatalf("promoted is %q (%v), expected %q", got, err, want)
		}
	}
	promoted("")
	if _, err := a.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	fill(t, a, [][]float32{{1, 0, 0, 0, 0, 0, 0, 0}, {0, 1, 0, 0, 0, 0, 0, 0}})
	fill(t, b, [][]float32{{-1, 0, 0, 0, 0, 0, 0, 0}, {0, -1, 0, 0, 0, 0, 0, 0}, {0, 0, 1, 0, 0, 0, 0, 0}})
	for _, m := range []*Milvus{a, b} {
		if err := m.Barrier(ctx); err != nil {
			t.Fatal(err)
		}
	}
	stop := readAlias(t, a)
	defer stop()
	for _, step := range [aliasMoves]struct {
		to   *Milvus
		prev string
	}{{b, name(a)}, {a, name(b)}, {b, name(a)}, {a, name(b)}, {a, name(a)}} {
		previous, err := step.to.Promote(ctx)
		if err != nil || previous != step.prev {
			t.Fatalf("promote %s: previous %q (%v), expected %q", name(step.to), previous, err, step.prev)
		}
		promoted(name(step.to))
		time.Sleep(100 * time.Millisecond) // some searches
	}
	all, err := b.Collections(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Promoted != (c.Fingerprint == name(a)) {
			t.Errorf("collection %+v, promoted is %s", c, name(a))
		}
	}
	if !slices.ContainsFunc(all, func(c Collection) bool { return c.Name == b.collection }) {
		t.Errorf("%s is not among %v", b.collection, all)
	}
	for what, m := range map[string]*Milvus{"the promoted one": a, "one in use": b} {
		if err := b.Drop(ctx, name(m)); errs.KindOf(err) != errs.Invalid {
			t.Errorf("dropping %s: %v", what, err)
		}
	}
	if err := a.Drop(ctx, name(b)); err != nil {
		t.Error(err)
	}
	if _, err := b.Count(ctx); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("count of a dropped collection: %v", err)
	}
}
