package vecdbtest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"videosim/shared/errs"
	"videosim/shared/vecdb"
)

func testEmpty(s *suite) {
	s.expectCount(0)
	if hits := s.search(vecdb.Query{Vector: at(0), K: 10}); len(hits) != 0 {
		s.Errorf("an empty index found %v", hits)
	}
	if records := s.fetch("nobody"); len(records) != 0 {
		s.Errorf("an empty index has %v", records)
	}
	if records := s.fetch(); len(records) != 0 {
		s.Errorf("no ids fetched %v", records)
	}
	s.remove("nobody")
	s.upsert()
	s.settle()
	s.expectCount(0)
}

func testUpsertReplaces(s *suite) {
	old := vecdb.Record{ID: "a", Embedding: at(0), Title: "old", CategoryID: 1, TagIDs: []int64{1, 2}, Sequence: 1}
	now := vecdb.Record{ID: "a", Embedding: at(90), Title: "new", CategoryID: 2, TagIDs: []int64{3}, Sequence: 2}
	s.store(old, vecdb.Record{ID: "b", Embedding: at(45), Sequence: 3})
	s.store(now)
	s.expectCount(2)
	s.expectIDs("at the new place", s.search(vecdb.Query{Vector: at(90), K: 10}), "a", "b")
	s.expectIDs("at the old place", s.search(vecdb.Query{Vector: at(0), K: 10}), "b", "a")
	s.expectIDs("by the old category", s.search(vecdb.Query{Vector: at(0), K: 10, Filter: vecdb.Filter{Categories: []int64{1}}}))
	s.expectIDs("by the old tag", s.search(vecdb.Query{Vector: at(0), K: 10, Filter: vecdb.Filter{Tags: []int64{2}}}))
	if err := sameRecord(&s.fetch("a")[0], &now); err != nil {
		s.Error(err)
	}
}

// full is a record with every field set.
func full(id string, degrees float64) vecdb.Record {
	return vecdb.Record{
		ID: id, Embedding: at(degrees), Title: `标题 "x" \ 'y' 🎬`, CategoryID: -7,
		TagIDs: []int64{math.MaxInt64, -1, 0, 12345}, Sequence: math.MaxInt64,
		PublishedAt:  time.Date(2021, 8, 1, 12, 30, 15, 123e6, time.UTC),
		ThumbnailURL: "https://example.com/a.jpg?x=1&y=%20",
	}
}

func testFieldsComeBack(s *suite) {
	want := full("a", 10)
	bare := vecdb.Record{ID: "b", Embedding: at(20), Sequence: 1}
	before := full("c", 30)
	before.PublishedAt = time.Date(1960, 1, 2, 3, 4, 5, 0, time.UTC)
	s.store(want, bare, before)
	got := s.fetch("a", "b", "c")
	if len(got) != 3 {
		s.Fatalf("fetched %d records, expected 3", len(got))
	}
	for i, w := range []vecdb.Record{want, bare, before} {
		if err := sameRecord(&got[i], &w); err != nil {
			s.Errorf("fetch: %v", err)
		}
	}
	hits := s.search(vecdb.Query{Vector: at(10), K: 3})
	s.expectIDs("search", hits, "a", "b", "c")
	for i, w := range []vecdb.Record{want, bare, before} {
		w.Embedding = nil
		if err := sameRecord(&hits[i].Record, &w); err != nil {
			s.Errorf("search: %v", err)
		}
	}
}

func testDelete(s *suite) {
	s.store(full("a", 0), full("b", 10), full("c", 20))
	s.remove("b", "nobody")
	s.settle()
	s.expectCount(2)
	s.expectIDs("after the delete", s.search(vecdb.Query{Vector: at(10), K: 10}), "a", "c")
	if got := s.fetch("b"); len(got) != 0 {
		s.Errorf("fetched the deleted %v", got)
	}
	s.remove("a", "b", "c")
	s.settle()
	s.expectCount(0)
	s.expectIDs("after all are deleted", s.search(vecdb.Query{Vector: at(10), K: 10}))
}

func testDeleteThenUpsert(s *suite) {
	s.store(full("a", 0))
	s.remove("a")
	again := full("a", 50)
	again.Title = "again"
	s.store(again)
	s.expectCount(1)
	got := s.fetch("a")
	if len(got) != 1 {
		s.Fatalf("fetched %d records, expected 1", len(got))
	}
	if err := sameRecord(&got[0], &again); err != nil {
		s.Error(err)
	}
}

func testFetch(s *suite) {
	records := make([]vecdb.Record, 1500)
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = fmt.Sprintf("v%d", i)
		records[i] = vecdb.Record{ID: ids[i], Embedding: s.random(), Sequence: uint64(i + 1)}
	}
	s.store(records...)
	s.expectCount(int64(len(records)))
	slices.Reverse(ids)
	asked := slices.Insert(slices.Clone(ids), 700, "missing", ids[0])
	got := s.fetch(asked...)
	want := slices.Insert(slices.Clone(ids), 700, ids[0])
	if len(got) != len(want) {
		s.Fatalf("fetched %d records, expected %d", len(got), len(want))
	}
	for i, r := range got {
		if r.ID != want[i] {
			s.Fatalf("record %d is %s, expected %s: the order of the ids asked for", i, r.ID, want[i])
		}
		if err := sameRecord(&r, &records[r.Sequence-1]); err != nil {
			s.Fatal(err)
		}
	}
}

func testRefusals(s *suite) {
	nan, inf := at(0), at(0)
	nan[3], inf[4] = float32(math.NaN()), float32(math.Inf(-1))
	good := vecdb.Record{ID: "a", Embedding: at(0)}
	with := func(change func(r *vecdb.Record)) []vecdb.Record {
		r := good
		change(&r)
		return []vecdb.Record{{ID: "other", Embedding: at(0)}, r}
	}
	upserts := map[string][]vecdb.Record{
		"an id twice":           {good, {ID: "b", Embedding: at(1)}, good},
		"no id":                 with(func(r *vecdb.Record) { r.ID = "" }),
		"an id of 65 bytes":     with(func(r *vecdb.Record) { r.ID = strings.Repeat("x", 65) }),
		"an id that's no UTF-8": with(func(r *vecdb.Record) { r.ID = "a\xff" }),
		"an id with a zero":     with(func(r *vecdb.Record) { r.ID = "a\x00b" }),
		"a short embedding":     with(func(r *vecdb.Record) { r.Embedding = r.Embedding[1:] }),
		"no embedding":          with(func(r *vecdb.Record) { r.Embedding = nil }),
		"a NaN":                 with(func(r *vecdb.Record) { r.Embedding = nan }),
		"an infinity":           with(func(r *vecdb.Record) { r.Embedding = inf }),
		"too many tags":         with(func(r *vecdb.Record) { r.TagIDs = make([]int64, vecdb.MaxTags+1) }),
		"a huge sequence":       with(func(r *vecdb.Record) { r.Sequence = math.MaxUint64 }),
	}
	for what, records := range upserts {
		s.expectKind(what, s.index.Upsert(s.ctx, records), errs.Invalid)
	}
	queries := map[string]vecdb.Query{
		"k of 0":             {Vector: at(0)},
		"k below 0":          {Vector: at(0), K: -1},
		"k too large":        {Vector: at(0), K: vecdb.MaxK + 1},
		"a long vector":      {Vector: append(at(0), 0), K: 1},
		"no vector":          {K: 1},
		"a NaN in a query":   {Vector: nan, K: 1},
		"an excluded non-id": {Vector: at(0), K: 1, Filter: vecdb.Filter{ExcludeIDs: []string{"\xff"}}},
	}
	for what, q := range queries {
		_, err := s.index.Search(s.ctx, q)
		s.expectKind(what, err, errs.Invalid)
	}
	_, err := s.index.Fetch(s.ctx, []string{"a", ""})
	s.expectKind("fetch without an id", err, errs.Invalid)
	s.expectKind("delete without an id", s.index.Delete(s.ctx, []string{""}), errs.Invalid)
}

func testRefusalChangesNothing(s *suite) {
	s.store(full("a", 0))
	changed := full("a", 90)
	err := s.index.Upsert(s.ctx, []vecdb.Record{changed, {ID: "b", Embedding: at(1)[:3]}})
	s.expectKind("a short embedding", err, errs.Invalid)
	s.settle()
	s.expectCount(1)
	want := full("a", 0)
	if err := sameRecord(&s.fetch("a")[0], &want); err != nil {
		s.Errorf("a refused upsert changed a record: %v", err)
	}
}

// hostileIDs would break an expression that is put together carelessly, or
// meet another id where bytes are lost on the way.
func hostileIDs() []string {
	ids := []string{
		`"`, `'`, `\`, `\\`, `\"`, `a" or id != "`, `"] || true || id in ["`, `a' || 'b`, "%", "_", "a%", "*",
		"a", "A", " a", "a ", "a\n", "a\r\n", "a\t", "\u0001", "\u007f", "\u0080", "\u2028", "\ufeff", "\ufffd",
		"标题", "标題", "é", "e\u0301", "🎬", "👨‍👩‍👧‍👦", "\U0010FFFF", "in", "not in", "id", "null", "true", "0", "00", "-1",
		"{x}", "[x]", "$meta", "a.b", "a/b", "~YQ", "a,b", "/*", "//", "--", ";", `\u0041`, `\x41`, "\\n", "&&", "||",
		strings.Repeat("x", 64), strings.Repeat("标", 21), strings.Repeat(`"`, 64), strings.Repeat(`\`, 64),
	}
	for c := byte(1); c < utf8.RuneSelf; c++ {
		ids = append(ids, "c"+string(c)+"c")
	}
	return ids
}

func testHostileIDs(s *suite) {
	ids := hostileIDs()
	records := make([]vecdb.Record, len(ids))
	for i, id := range ids {
		records[i] = vecdb.Record{ID: id, Embedding: at(float64(i) * 90 / float64(len(ids))), Sequence: uint64(i + 1)}
	}
	s.store(records...)
	s.expectCount(int64(len(ids)))
	if got := s.fetch(ids...); len(got) != len(ids) {
		s.Errorf("fetched %d records, expected %d", len(got), len(ids))
	}
	for i, id := range ids {
		got := s.fetch(id)
		if len(got) != 1 || got[0].ID != id || got[0].Sequence != uint64(i+1) {
			s.Errorf("id %q fetched %+v", id, got)
		}
		hits := s.search(vecdb.Query{Vector: records[i].Embedding, K: len(ids), Filter: vecdb.Filter{ExcludeIDs: []string{id}}})
		if len(hits) != len(ids)-1 || slices.ContainsFunc(hits, func(h vecdb.Hit) bool { return h.Record.ID == id }) {
			s.Errorf("excluding %q leaves %d of %d records", id, len(hits), len(ids))
		}
	}
	for i, id := range ids {
		if i%2 == 0 {
			s.remove(id)
		}
	}
	s.settle()
	s.expectCount(int64(len(ids) / 2))
	for i, id := range ids {
		if got := s.fetch(id); len(got) != i%2 {
			s.Errorf("after every second id is deleted, %q fetched %d records", id, len(got))
		}
	}
}

func testLongTitle(s *suite) {
	long := full("a", 0)
	long.Title = "x" + strings.Repeat("标", vecdb.MaxTitleBytes/3+10)
	broken := full("b", 1)
	broken.Title = "a\xffb"
	s.store(long, broken)
	got := s.fetch("a", "b")
	if title := got[0].Title; len(title) > vecdb.MaxTitleBytes || len(title) < vecdb.MaxTitleBytes-3 ||
		!utf8.ValidString(title) || !strings.HasPrefix(long.Title, title) {
		s.Errorf("a title of %d bytes came back with %d", len(long.Title), len(title))
	}
	if got[1].Title != "a\ufffdb" {
		s.Errorf("title %q, expected the broken byte replaced", got[1].Title)
	}
}

func testCancelledContext(s *suite) {
	s.store(full("a", 0))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := s.index.Search(ctx, vecdb.Query{Vector: at(0), K: 1})
	s.expectKind("search", err, errs.Unavailable)
	_, err = s.index.Fetch(ctx, []string{"a"})
	s.expectKind("fetch", err, errs.Unavailable)
	s.expectKind("upsert", s.index.Upsert(ctx, []vecdb.Record{full("b", 1)}), errs.Unavailable)
	s.expectKind("barrier", s.index.Barrier(ctx), errs.Unavailable)
	s.settle()
	s.expectCount(1)
}
