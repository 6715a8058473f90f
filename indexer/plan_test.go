package indexer

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
)

const (
	testFingerprint = "0123456789ab"
	testDim         = 8
)

// vector is a unit vector that only this seed has.
func vector(seed int) []float32 {
	v := make([]float32, testDim)
	var sum float64
	for i := range v {
		x := math.Sin(float64(seed*testDim + i + 1))
		v[i] = float32(x)
		sum += x * x
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(sum))
	}
	return v
}

func upsert(id string, sequence uint64) *event.Embedding {
	return &event.Embedding{
		Id: id, Fingerprint: testFingerprint, Sequence: sequence, Embedding: vector(int(sequence)),
		Title: "title of " + id, CategoryId: 7, TagIds: []int64{1, 2},
	}
}

func tombstone(id string, sequence uint64) *event.Embedding {
	return &event.Embedding{Id: id, Fingerprint: testFingerprint, Sequence: sequence, Deleted: true}
}

func marshal(t *testing.T, e *event.Embedding) []byte {
	t.Helper()
	data, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func scaled(v []float32, by float32) []float32 {
	out := slices.Clone(v)
	for i := range out {
		out[i] *= by
	}
	return out
}

func TestDecodeRefusesWhatMustNotBeIndexed(t *testing.T) {
	subject := event.EmbeddingSubject(testFingerprint, "a")
	with := func(change func(*event.Embedding)) []byte {
		e := upsert("a", 5)
		change(e)
		return marshal(t, e)
	}
	nan := float32(math.NaN())
	for _, c := range []struct {
		name  string
		data  []byte
		kind  errs.Kind
		field string
		fine  bool
	}{
		{name: "as it should be", data: with(func(*event.Embedding) {}), fine: true},
		{name: "a tombstone", data: marshal(t, tombstone("a", 5)), fine: true},
		{name: "norm within the tolerance", data: with(func(e *event.Embedding) { e.Embedding = scaled(e.Embedding, 1.0009) }), fine: true},
		{name: "norm outside", data: with(func(e *event.Embedding) { e.Embedding = scaled(e.Embedding, 1.0011) }), kind: errs.Corrupt},
		{name: "all zero", data: with(func(e *event.Embedding) { e.Embedding = make([]float32, testDim) }), kind: errs.Corrupt},
		{name: "not a number", data: with(func(e *event.Embedding) { e.Embedding[3] = nan }), kind: errs.Corrupt},
		{name: "infinite", data: with(func(e *event.Embedding) { e.Embedding[3] = float32(math.Inf(-1)) }), kind: errs.Corrupt},
		{name: "other dimension", data: with(func(e *event.Embedding) { e.Embedding = e.Embedding[:4] }), kind: errs.Invalid, field: "embedding"},
		{name: "no embedding", data: with(func(e *event.Embedding) { e.Embedding = nil }), kind: errs.Invalid, field: "embedding"},
		{name: "other model", data: with(func(e *event.Embedding) { e.Fingerprint = "ba9876543210" }), kind: errs.Invalid, field: "fingerprint"},
		{name: "other video", data: with(func(e *event.Embedding) { e.Id = "b" }), kind: errs.Invalid, field: "id"},
		{name: "no sequence", data: with(func(e *event.Embedding) { e.Sequence = 0 }), kind: errs.Invalid, field: "sequence"},
		{name: "no protobuf", data: []byte("{}"), kind: errs.Corrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decode(&bus.Message{Subject: subject, Data: c.data}, testFingerprint, testDim, new([]byte))
			if c.fine {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || errs.KindOf(err) != c.kind || errs.FieldOf(err) != c.field {
				t.Errorf("got %v (kind %s, field %q), want kind %s, field %q", err, errs.KindOf(err), errs.FieldOf(err), c.kind, c.field)
			}
		})
	}
}

func TestPlanKeepsTheNewestOfEachVideo(t *testing.T) {
	p := newPlan(0)
	m := make([]*bus.Message, 6)
	for i, e := range []*event.Embedding{
		upsert("a", 4), upsert("b", 5), tombstone("a", 9), upsert("a", 6), tombstone("c", 2), upsert("c", 3),
	} {
		m[i] = &bus.Message{Sequence: uint64(i)}
		p.add(m[i], e)
	}
	records, deleted := split(p.changes)
	if len(records) != 2 || records[0].ID != "b" || records[1].ID != "c" || records[1].Sequence != 3 {
		t.Errorf("upserts %+v, want b@5 and c@3", records)
	}
	if !slices.Equal(deleted, []string{"a"}) {
		t.Errorf("deletes %v, want a, whose tombstone is newest although an upsert came after it", deleted)
	}
	if got := messages(p.changes[:1]); !slices.Equal(got, []*bus.Message{m[0], m[2], m[3]}) {
		t.Errorf("a settles %d messages, want its three", len(got))
	}
}

func TestRecord(t *testing.T) {
	at := time.Date(2021, 10, 29, 1, 2, 3, 0, time.UTC)
	e := upsert("a", 5)
	e.ThumbnailUrl, e.PublishedAt = "https://x/y.jpg", timestamppb.New(at)
	r := record(e)
	if r.ID != "a" || r.Sequence != 5 || r.Title != e.GetTitle() || r.CategoryID != 7 || !slices.Equal(r.TagIDs, []int64{1, 2}) ||
		r.ThumbnailURL != "https://x/y.jpg" || !r.PublishedAt.Equal(at) || !slices.Equal(r.Embedding, e.GetEmbedding()) {
		t.Errorf("record %+v of %+v", r, e)
	}
	if e.PublishedAt = nil; !record(e).PublishedAt.IsZero() {
		t.Error("a video without a time got one")
	}
}

func TestReplayIsOverWhenTheBeginningIsSettled(t *testing.T) {
	var s state
	s.begins(100, 40)
	for _, step := range []struct {
		settled, waiting uint64
		ready            bool
	}{
		{10, 39, false},
		{90, 200, false}, // more arrives than is settled
		{100, 500, true},
		{100, 900, true}, // later lag is no replay
	} {
		s.waits(step.settled, step.waiting)
		if err := s.replayed(t.Context()); (err == nil) != step.ready {
			t.Errorf("settled up to %d, %d waiting: %v, want ready %t", step.settled, step.waiting, err, step.ready)
		}
	}
	var quiet state
	quiet.begins(100, 1)
	quiet.waits(99, 0) // message 100 was of another model
	if err := quiet.replayed(t.Context()); err != nil {
		t.Errorf("nothing waits: %v, want ready", err)
	}
}

func TestWritableNamesTheFailure(t *testing.T) {
	var s state
	if err := s.writable(t.Context()); err != nil {
		t.Errorf("before any write: %v", err)
	}
	cause := errors.New("collection not loaded")
	s.indexFails(cause)
	if err := s.writable(t.Context()); !errors.Is(err, cause) || errs.KindOf(err) != errs.Unavailable {
		t.Errorf("while writes fail: %v, want the cause as unavailable", err)
	}
	s.indexAnswers()
	if err := s.writable(t.Context()); err != nil {
		t.Errorf("after a success: %v", err)
	}
}
