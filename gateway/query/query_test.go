package query

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

func TestDirection(t *testing.T) {
	x, y := []float32{3, 0}, []float32{0, 5} // lengths must not count
	for _, c := range []struct {
		name     string
		pos, neg [][]float32
		want     []float64
	}{
		{"one", [][]float32{x}, nil, []float64{1, 0}},
		{"two", [][]float32{x, y}, nil, []float64{math.Sqrt2 / 2, math.Sqrt2 / 2}},
		{"away", [][]float32{x}, [][]float32{y}, []float64{math.Sqrt2 / 2, -math.Sqrt2 / 2}},
		{"means, not sums", [][]float32{x, x, x}, [][]float32{y}, []float64{math.Sqrt2 / 2, -math.Sqrt2 / 2}},
	} {
		got, err := Direction(c.pos, c.neg)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for i := range c.want {
			if math.Abs(float64(got[i])-c.want[i]) > 1e-7 {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
	}
	if _, err := Direction([][]float32{x}, [][]float32{{7, 0}}); errs.FieldOf(err) != "negative" {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Direction(nil, nil); errs.FieldOf(err) != "positive" {
		t.Errorf("none: %v", err)
	}
}

func hit(id string, cosine float32, embedding ...float32) vecdb.Hit {
	return vecdb.Hit{Record: vecdb.Record{ID: id, Embedding: embedding}, Cosine: cosine}
}

func order(hits []vecdb.Hit) (ids []string) {
	for _, h := range hits {
		ids = append(ids, h.Record.ID)
	}
	return ids
}

func TestDiversify(t *testing.T) {
	// a and its twin beside b, which is less alike and different.
	hits := []vecdb.Hit{hit("a", 0.9, 1, 0), hit("twin", 0.89, 1, 0), hit("b", 0.5, 0, 1)}
	if got := order(Diversify(hits, 0)); !slices.Equal(got, []string{"a", "twin", "b"}) {
		t.Errorf("without diversity: %v", got)
	}
	if got := order(Diversify(hits, 0.5)); !slices.Equal(got, []string{"a", "b", "twin"}) {
		t.Errorf("with diversity: %v", got)
	}
	if got := order(hits); !slices.Equal(got, []string{"a", "twin", "b"}) {
		t.Errorf("the input was changed: %v", got)
	}
	if got := Diversify(nil, 0.5); len(got) != 0 {
		t.Errorf("nothing: %v", got)
	}
}

func TestTokenSurvivesAndExpires(t *testing.T) {
	p := NewPages("secret")
	q := Similar{K: 5, Positive: []Input{{ID: "a"}, {Video: &event.VideoEvent{Title: "x"}}, {Embedding: []float32{1, 2}}}}
	want := token{
		list: list{
			expires: time.Now().Add(tokenLife).Unix(), seen: 7, direction: []float32{1, -0.1, 3e-39}, missing: []string{"gone", "weg"},
			reports: []Report{{Path: "positive[1]", ID: "x", Input: &event.InputReport{Title: true, TokensCut: 300}}},
		},
		last: candidate{"a", 0.5, 1 << 60}, shown: []uint64{1, 1 << 63}, rest: []candidate{{"b", 0.25, 3}, {"ü", -1, 2}, {"", 0, 0}},
	}
	sealed, err := p.seal(q, "model", want)
	if err != nil {
		t.Fatal(err)
	}
	q.PageToken = sealed
	got, err := p.open(q, "model", time.Now())
	if len(got.reports) != 1 || !proto.Equal(got.reports[0].Input, want.reports[0].Input) {
		t.Errorf("reports %v, want %v", got.reports, want.reports)
	}
	got.reports, want.reports = nil, nil
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v and %v, want %+v", got, err, want)
	}
	for at := range sealed { // no byte of it can be changed
		forged := []byte(sealed)
		forged[at] = map[bool]byte{true: 'B', false: 'A'}[forged[at] == 'A']
		bad := q
		bad.PageToken = string(forged)
		if _, err := p.open(bad, "model", time.Now()); errs.FieldOf(err) != "page_token" {
			t.Fatalf("byte %d changed: %v", at, err)
		}
	}
	fresh := q
	fresh.MinSeen = 8
	if _, err := p.open(fresh, "model", time.Now()); errs.FieldOf(err) != "page_token" {
		t.Errorf("older than demanded: %v", err)
	}
	if _, err := NewPages("secret").open(q, "model", time.Now()); err != nil {
		t.Errorf("after a restart with the same key: %v", err)
	}
	if _, err := NewPages("").open(q, "model", time.Now()); errs.FieldOf(err) != "page_token" {
		t.Errorf("after a restart with a random key: %v", err)
	}
	if _, err := p.open(q, "model", time.Now().Add(tokenLife+2*time.Second)); errs.FieldOf(err) != "page_token" {
		t.Errorf("expired: %v", err)
	}
	if _, err := p.open(q, "another", time.Now()); errs.FieldOf(err) != "page_token" {
		t.Errorf("of another model: %v", err)
	}
	for name, change := range map[string]func(*Similar){
		"k": func(q *Similar) { q.K++ }, "filter": func(q *Similar) { q.Filter.Tags = []int64{1} }, "score": func(q *Similar) { q.MinScore = 0.1 },
		"content": func(q *Similar) {
			q.Positive = slices.Clone(q.Positive)
			q.Positive[1].Video = &event.VideoEvent{Title: "y"}
		},
		"vector":   func(q *Similar) { q.Positive = slices.Clone(q.Positive); q.Positive[2].Embedding = []float32{1, 3} },
		"far time": func(q *Similar) { q.Filter.PublishedBefore = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"negative": func(q *Similar) { q.Negative = []Input{{ID: "z"}} },
	} {
		other := q
		change(&other)
		if _, err := p.open(other, "model", time.Now()); errs.FieldOf(err) != "page_token" {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func TestSplitCosine(t *testing.T) {
	a := &event.Embedding{Id: "a", Late: []float32{1, 2, 3}, Early: []float32{-1, 0.5, 2}}
	b := &event.Embedding{Id: "b", Late: []float32{0.5, -2, 1}, Early: []float32{4, 1, 1}}
	s, err := SplitCosine(a, b)
	if err != nil {
		t.Fatal(err)
	}
	whole := func(e *event.Embedding) []float32 {
		v, err := eval.Combine(e.Late, e.Early)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if want := eval.Cosine(whole(a), whole(b)); math.Abs(s.Cosine-want) > 1e-7 {
		t.Errorf("cosine %v, want %v", s.Cosine, want)
	}
	if sum := s.Late + s.Early + s.LateEarly + s.EarlyLate; math.Abs(sum-s.Cosine) > 1e-15 {
		t.Errorf("terms add up to %v, want %v", sum, s.Cosine)
	}
	if math.Abs(s.LateShareA+s.EarlyShareA-1) > 1e-15 {
		t.Errorf("shares %v and %v", s.LateShareA, s.EarlyShareA)
	}
	for name, bad := range map[string]*event.Embedding{
		"no halves": {Id: "b"}, "cancelled": {Id: "b", Late: []float32{1, 2, 3}, Early: []float32{-1, -2, -3}}, "short": {Id: "b", Late: []float32{1}, Early: []float32{1}},
	} {
		if _, err := SplitCosine(a, bad); errs.KindOf(err) != errs.Corrupt || err == nil {
			t.Errorf("%s: %v, want Corrupt", name, err)
		}
	}
}
