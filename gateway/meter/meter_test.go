package meter

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"videosim/gateway/query"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

// held is a source that holds its embeddings.
type held struct {
	all  []*event.Embedding
	fail error
}

func (h *held) ScanEmbeddings(_ context.Context, _ string, _ int, each func(*event.Embedding) error) error {
	for _, e := range h.all {
		if err := each(e); err != nil {
			return err
		}
	}
	return h.fail
}

func (h *held) SampleEmbeddings(context.Context, string, int) ([]*event.Embedding, error) {
	return h.all, nil
}

const dim = 16

func unit(rng *rand.Rand, lean float64) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64() + lean)
	}
	d, err := query.Direction([][]float32{v}, nil)
	if err != nil {
		panic(err)
	}
	return d
}

// rig is an exact index and a source that agree.
func rig(t *testing.T, n int) (*Meter, *held, *vecdb.Exact, *rand.Rand) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	source, index := &held{}, vecdb.NewExact(dim)
	t.Cleanup(func() { _ = index.Close() })
	var records []vecdb.Record
	for i := range n {
		e := &event.Embedding{
			Id: fmt.Sprintf("v%d", i), Sequence: uint64(i + 1), Embedding: unit(rng, 0), Late: unit(rng, 0), Early: unit(rng, 0), CategoryId: int64(i % 2),
			Input: &event.InputReport{Title: true, Speech: i%4 > 0, Frames: i%2 > 0},
		}
		source.all = append(source.all, e)
		records = append(records, vecdb.Record{ID: e.Id, Sequence: e.Sequence, Embedding: e.Embedding, CategoryID: e.CategoryId})
	}
	if err := index.Upsert(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	return New(source, "fp", slog.New(slog.DiscardHandler), prometheus.NewRegistry()), source, index, rng
}

// ask answers a query and shows it to the meter; lose drops hits on the way.
func ask(t *testing.T, m *Meter, index vecdb.Index, q vecdb.Query, seen uint64, lose ...int) {
	t.Helper()
	hits, err := index.Search(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range lose {
		hits = slices.Delete(hits, i, i+1)
	}
	m.Watch(query.Answered{Query: q, Seen: seen, Hits: hits})
}

func round(t *testing.T, m *Meter) float64 {
	t.Helper()
	if err := m.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	return testutil.ToFloat64(m.gauges.recall)
}

func TestRecall(t *testing.T) {
	m, source, index, rng := rig(t, 500)
	if got := round(t, m); !math.IsNaN(got) {
		t.Errorf("recall without a query: %v", got)
	}
	for i := range 5 {
		ask(t, m, index, vecdb.Query{Vector: unit(rng, 0), K: 10 + i, Filter: vecdb.Filter{Categories: []int64{1}, ExcludeIDs: []string{"v1"}}}, 500)
	}
	if got := round(t, m); got != 1 {
		t.Errorf("recall of an exact index: %v", got)
	}
	// An index that loses two of ten.
	ask(t, m, index, vecdb.Query{Vector: unit(rng, 0), K: 10}, 500, 3, 7)
	if got := round(t, m); math.Abs(got-0.8) > 1e-9 {
		t.Errorf("recall of an index that loses two of ten: %v", got)
	}
	// What is edited, deleted or published after the query is nobody's fault.
	q := vecdb.Query{Vector: source.all[7].Embedding, K: 10}
	ask(t, m, index, q, 500)
	source.all[7] = &event.Embedding{Id: "v7", Sequence: 501, Embedding: unit(rng, 0)} // was the best hit
	source.all[8] = &event.Embedding{Id: "v8", Sequence: 502, Deleted: true}
	source.all = append(source.all, &event.Embedding{Id: "new", Sequence: 503, Embedding: q.Vector})
	if got := round(t, m); got != 1 {
		t.Errorf("recall after edits: %v", got)
	}
	if got := testutil.ToFloat64(m.gauges.checked); got != 7 {
		t.Errorf("%v queries checked, want 7", got)
	}
}

// However many queries come, a round keeps few of them, and all alike.
func TestSampleIsBounded(t *testing.T) {
	m, _, index, rng := rig(t, 50)
	early := 0
	for range 200 {
		for i := range 100 {
			ask(t, m, index, vecdb.Query{Vector: unit(rng, 0), K: 1 + i}, 50)
		}
		if len(m.asked) != roundQueries {
			t.Fatalf("%d queries kept, want %d", len(m.asked), roundQueries)
		}
		for _, q := range m.asked {
			if q.Query.K <= 50 {
				early++
			}
		}
		m.asked, m.seen = nil, 0
	}
	if total := 200 * roundQueries; early < total*4/10 || early > total*6/10 {
		t.Errorf("%d of %d kept queries are from the first half", early, total)
	}
}

func TestDrift(t *testing.T) {
	m, source, _, rng := rig(t, 400)
	if err := m.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"title": 0, "speech": 0.25, "frames": 0.5} {
		if got := testutil.ToFloat64(m.gauges.missing.WithLabelValues(name)); math.Abs(got-want) > 1e-9 {
			t.Errorf("missing %s: %v, want %v", name, got, want)
		}
	}
	calm := measure(source.all)
	if calm.Shift > 1.5*calm.Noise || calm.NormError > 1e-6 || math.Abs(calm.LateNorm-1) > 1e-6 {
		t.Errorf("embeddings that do not drift: %+v", calm)
	}
	for i := 200; i < 400; i++ {
		source.all[i].Embedding = unit(rng, 0.5)
	}
	source.all[0].Embedding[0] *= 2
	if moved := measure(source.all); moved.Shift < 3*moved.Noise || moved.NormError < 1e-3 {
		t.Errorf("embeddings that drift: %+v", moved)
	}
}

func TestFailedRound(t *testing.T) {
	m, source, index, rng := rig(t, 50)
	ask(t, m, index, vecdb.Query{Vector: unit(rng, 0), K: 3}, 50, 0)
	source.fail = errs.New(errs.Unavailable, "the stream is away")
	if err := m.Round(t.Context()); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("round: %v", err)
	}
	if got := testutil.ToFloat64(m.gauges.recall); !math.IsNaN(got) {
		t.Errorf("half a pass set the recall to %v", got)
	}
}
