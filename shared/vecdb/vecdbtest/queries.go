package vecdbtest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"videosim/shared/vecdb"
)

func testOrder(s *suite) {
	s.store(full("a", 0), full("b", 30), full("c", 60), full("d", 90), full("e", 180))
	hits := s.search(vecdb.Query{Vector: at(35), K: 4})
	s.expectIDs("nearest first", hits, "b", "c", "a", "d")
	for i, degrees := range []float64{5, 25, 35, 55} {
		want := math.Cos(degrees * math.Pi / 180)
		if math.Abs(float64(hits[i].Cosine)-want) > 1e-6 {
			s.Errorf("cosine %v, expected %v", hits[i].Cosine, want)
		}
	}
	s.expectIDs("k of 1", s.search(vecdb.Query{Vector: at(170), K: 1}), "e")
	double := at(35)
	for i := range double {
		double[i] *= 2
	}
	hits = s.search(vecdb.Query{Vector: double, K: 1})
	if want := 2 * math.Cos(5*math.Pi/180); math.Abs(float64(hits[0].Cosine)-want) > 1e-6 {
		s.Errorf("inner product %v with a vector of norm 2, expected %v", hits[0].Cosine, want)
	}
}

func testTies(s *suite) {
	s.store(full("d", 10), full("b", 10), full("a", 50), full("c", 10), full("B", 10), full("标", 10))
	s.expectIDs("equal cosines by id", s.search(vecdb.Query{Vector: at(10), K: 10}), "B", "b", "c", "d", "标", "a")
}

func testWithEmbedding(s *suite) {
	s.store(full("a", 0), full("b", 30))
	for _, h := range s.search(vecdb.Query{Vector: at(0), K: 2}) {
		if h.Record.Embedding != nil {
			s.Errorf("%s came with an embedding that nobody asked for", h.Record.ID)
		}
	}
	hits := s.search(vecdb.Query{Vector: at(0), K: 2, WithEmbedding: true})
	s.expectIDs("with embeddings", hits, "a", "b")
	for i, degrees := range []float64{0, 30} {
		if !slices.Equal(hits[i].Record.Embedding, at(degrees)) {
			s.Errorf("embedding of %s is %v, expected %v", hits[i].Record.ID, hits[i].Record.Embedding, at(degrees))
		}
	}
	hits[0].Record.Embedding[0] = 42
	if got := s.fetch("a")[0].Embedding[0]; got != 1 {
		s.Errorf("writing into a hit's embedding changed the index to %v", got)
	}
}

func testLargeK(s *suite) {
	const n = 3000
	records := make([]vecdb.Record, n)
	for i := range records {
		records[i] = vecdb.Record{ID: fmt.Sprintf("v%04d", i), Embedding: s.random(), Sequence: uint64(i + 1)}
	}
	s.store(records...)
	for _, k := range []int{n, vecdb.MaxK} {
		q := s.random()
		hits := s.search(vecdb.Query{Vector: q, K: k})
		if len(hits) != n {
			s.Fatalf("k of %d found %d records, expected all %d", k, len(hits), n)
		}
		for i, h := range hits {
			want := dot(q, records[h.Record.Sequence-1].Embedding)
			if math.Abs(float64(h.Cosine)-want) > 1e-6 {
				s.Fatalf("%s has cosine %v, expected %v", h.Record.ID, h.Cosine, want)
			}
			if i > 0 && hits[i-1].Cosine < h.Cosine {
				s.Fatalf("hit %d is out of order", i)
			}
		}
	}
}

func day(n int) time.Time { return time.Date(2024, 1, n, 0, 0, 0, 0, time.UTC) }

// storeGrid stores six records, the nearer to angle 0 the earlier in the alphabet.
func storeGrid(s *suite) {
	s.store(
		vecdb.Record{ID: "a", Embedding: at(0), CategoryID: 1, TagIDs: []int64{1, 2}, PublishedAt: day(1)},
		vecdb.Record{ID: "b", Embedding: at(10), CategoryID: 2, TagIDs: []int64{2, 3}, PublishedAt: day(2)},
		vecdb.Record{ID: "c", Embedding: at(20), CategoryID: 1, PublishedAt: day(3)},
		vecdb.Record{ID: "d", Embedding: at(30), CategoryID: 0, TagIDs: []int64{-5}, PublishedAt: day(4)},
		vecdb.Record{ID: "e", Embedding: at(40), CategoryID: -9, TagIDs: []int64{1}},
		vecdb.Record{ID: "f", Embedding: at(50), CategoryID: 2, TagIDs: []int64{1, 2, 3}, PublishedAt: day(6)},
	)
}

func (s *suite) expectFiltered(what string, f vecdb.Filter, want ...string) {
	s.Helper()
	s.expectIDs(what, s.search(vecdb.Query{Vector: at(0), K: 10, Filter: f}), want...)
}

func testFilterCategories(s *suite) {
	storeGrid(s)
	s.expectFiltered("one category", vecdb.Filter{Categories: []int64{1}}, "a", "c")
	s.expectFiltered("category 0", vecdb.Filter{Categories: []int64{0}}, "d")
	s.expectFiltered("several", vecdb.Filter{Categories: []int64{2, -9, 77, 2}}, "b", "e", "f")
	s.expectFiltered("none has it", vecdb.Filter{Categories: []int64{77}})
	s.expectFiltered("no restriction", vecdb.Filter{Categories: []int64{}}, "a", "b", "c", "d", "e", "f")
}

func testFilterTags(s *suite) {
	storeGrid(s)
	s.expectFiltered("one tag", vecdb.Filter{Tags: []int64{1}}, "a", "e", "f")
	s.expectFiltered("any of two", vecdb.Filter{Tags: []int64{3, -5}}, "b", "d", "f")
	s.expectFiltered("none has it", vecdb.Filter{Tags: []int64{77, 78}})
}

func testFilterTime(s *suite) {
	storeGrid(s)
	s.expectFiltered("after, inclusive", vecdb.Filter{PublishedAfter: day(3)}, "c", "d", "f")
	s.expectFiltered("before, exclusive", vecdb.Filter{PublishedBefore: day(3)}, "a", "b")
	s.expectFiltered("between", vecdb.Filter{PublishedAfter: day(2), PublishedBefore: day(4)}, "b", "c")
	s.expectFiltered("a nanosecond later", vecdb.Filter{PublishedAfter: day(3).Add(1)}, "d", "f")
	s.expectFiltered("an empty range", vecdb.Filter{PublishedAfter: day(4), PublishedBefore: day(2)})
	s.expectFiltered("in another zone", vecdb.Filter{PublishedAfter: day(3).In(time.FixedZone("", 8*3600))}, "c", "d", "f")
}

func testFilterExclude(s *suite) {
	storeGrid(s)
	s.expectFiltered("two excluded", vecdb.Filter{ExcludeIDs: []string{"a", "d", "nobody"}}, "b", "c", "e", "f")
	all := make([]string, 5000)
	for i := range all {
		all[i] = fmt.Sprintf("nobody%d", i)
	}
	s.expectFiltered("many excluded", vecdb.Filter{ExcludeIDs: append(all, "a", "b", "c", "e", "f")}, "d")
}

func testFilterCombined(s *suite) {
	storeGrid(s)
	s.expectFiltered("category and tag", vecdb.Filter{Categories: []int64{1, 2}, Tags: []int64{3}}, "b", "f")
	s.expectFiltered("category, tag and time", vecdb.Filter{Categories: []int64{1, 2}, Tags: []int64{2}, PublishedBefore: day(6)}, "a", "b")
	s.expectFiltered("all four", vecdb.Filter{
		Categories: []int64{1, 2}, Tags: []int64{2}, PublishedAfter: day(1), ExcludeIDs: []string{"a"}}, "b", "f")
	s.expectIDs("cut by k", s.search(vecdb.Query{Vector: at(0), K: 1, Filter: vecdb.Filter{Tags: []int64{3}}}), "b")
}

// testFilterFewPass: a filter that few of many pass still finds them all.
func testFilterFewPass(s *suite) {
	const n, every = 3000, 250
	records := make([]vecdb.Record, n)
	for i := range records {
		records[i] = vecdb.Record{ID: fmt.Sprintf("v%04d", i), Embedding: s.random(), TagIDs: []int64{int64(i % every), 9999}, CategoryID: int64(i % 3)}
	}
	s.store(records...)
	for tag := range int64(5) {
		hits := s.search(vecdb.Query{Vector: s.random(), K: 100, Filter: vecdb.Filter{Tags: []int64{tag}}})
		if len(hits) != n/every {
			s.Errorf("tag %d found %d records, expected %d", tag, len(hits), n/every)
		}
		for _, h := range hits {
			if !slices.Contains(h.Record.TagIDs, tag) {
				s.Errorf("%s has tags %v, asked for %d", h.Record.ID, h.Record.TagIDs, tag)
			}
		}
	}
}

// testReadersBesideWriter: while records are replaced and deleted, every
// answer holds whole records (title, sequence and embedding belong together),
// each at most once, and the untouched ones are all there.
func testReadersBesideWriter(s *suite) {
	const n = 200
	version := func(i int, v uint64) vecdb.Record {
		return vecdb.Record{
			ID: fmt.Sprintf("v%03d", i), Sequence: v, Title: fmt.Sprintf("title %d", v),
			Embedding: at(float64(i)/2 + 0.1*float64(v%100)), CategoryID: int64(v),
		}
	}
	var records []vecdb.Record
	for i := range n {
		records = append(records, version(i, 1))
	}
	s.store(records...)

	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				hits, err := s.index.Search(s.ctx, vecdb.Query{Vector: at(20), K: 2 * n, WithEmbedding: true})
				if err != nil {
					s.Errorf("search beside a writer: %v", err)
					return
				}
				checkAnswer(s, hits, version)
			}
		})
	}
	for v := uint64(2); v < 20; v++ {
		var part []vecdb.Record
		for i := int(v % 2); i < n/2; i += 2 { // the second half is never touched
			part = append(part, version(i, v))
		}
		s.upsert(part...)
		s.remove(part[0].ID, part[1].ID)
	}
	s.settle()
	close(stop)
	readers.Wait()
	s.expectCount(n - 4)
}

func checkAnswer(s *suite, hits []vecdb.Hit, version func(int, uint64) vecdb.Record) {
	seen := map[string]bool{}
	untouched := 0
	for _, h := range hits {
		var i int
		if _, err := fmt.Sscanf(h.Record.ID, "v%03d", &i); err != nil {
			s.Errorf("unknown id %q", h.Record.ID)
			return
		}
		want := version(i, h.Record.Sequence)
		if err := sameRecord(&h.Record, &want); err != nil {
			s.Errorf("a torn record: %v", err)
			return
		}
		if seen[h.Record.ID] {
			s.Errorf("%s twice in one answer", h.Record.ID)
		}
		seen[h.Record.ID] = true
		if i >= 100 {
			untouched++
		}
	}
	if untouched != 100 {
		s.Errorf("%d of 100 untouched records among %d hits", untouched, len(hits))
	}
}
