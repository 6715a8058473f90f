package vecdb

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
)

const (
	// fetchChunk is how many ids one query asks for: 500 answers of about 1.3 KB.
	fetchChunk = 500
	// versions is how many of one id a search may meet without losing hits.
	// A writer that calls Barrier before it replaces an id again leaves two at
	// a time, one that repeats failed calls a few more.
	versions = 16
)

// Search implements Index. Where several records tie at the K-th place, which
// of them are found is Milvus's choice.
func (m *Milvus) Search(ctx context.Context, q Query) ([]Hit, error) {
	if err := checkQuery(&q, m.dim); err != nil {
		return nil, err
	}
	if !q.WithEmbedding {
		return m.search(ctx, &q, storedFields)
	}
	hits, err := m.search(ctx, &q, nil)
	if err != nil {
		return nil, err
	}
	return m.complete(ctx, &q, hits)
}

// search asks for more where an answer is short. Milvus takes the k best rows
// of a segment and only then drops all but one of an id, so while rows are
// being replaced, those that it shows in several versions crowd out ids that
// nobody touched. An answer of K hits lost none by that.
func (m *Milvus) search(ctx context.Context, q *Query, fields []string) ([]Hit, error) {
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	hits, err := m.nearest(ctx, q, q.K, fields)
	if more := min(versions*q.K, MaxK); err == nil && len(hits) > 0 && len(hits) < q.K && q.K < more {
		hits, err = m.nearest(ctx, q, more, fields)
	}
	return hits[:min(len(hits), q.K)], err
}

// nearest is one search for the best k rows; q.K is not looked at.
func (m *Milvus) nearest(ctx context.Context, q *Query, k int, fields []string) ([]Hit, error) {
	params, err := searchParams(*m.kind.Load(), k)
	if err != nil {
		return nil, err
	}
	c, err := m.link.client()
	if err != nil {
		return nil, err
	}
	results, err := c.Search(ctx, m.collection, nil, expression(&q.Filter), fields,
		[]entity.Vector{entity.FloatVector(q.Vector)}, fieldEmbedding, entity.IP, k, params,
		client.WithSearchQueryConsistencyLevel(entity.ClBounded))
	if err != nil {
		return nil, m.fail("search", err)
	}
	if len(results) == 0 || results[0].ResultCount == 0 {
		return []Hit{}, nil
	}
	hits, err := hitsOf(&results[0])
	if err != nil {
		return nil, m.fail("search", err)
	}
	return hits, nil
}

// complete reads the found records whole. Milvus can return embeddings from a
// search, but does so by a second read of its own and fails when a record was
// deleted in between; here such a record is left out, and one that was
// replaced gets the cosine of what it is now.
func (m *Milvus) complete(ctx context.Context, q *Query, hits []Hit) ([]Hit, error) {
	ids := make([]string, len(hits))
	for i := range hits {
		ids[i] = hits[i].Record.ID
	}
	records, err := m.Fetch(ctx, ids)
	if err != nil {
		return nil, err
	}
	hits = hits[:len(records)] // no id is asked for twice, so there are not more
	for i, r := range records {
		hits[i] = Hit{Record: r, Cosine: product(r.Embedding, q.Vector)}
	}
	sortHits(hits)
	return hits, nil
}

// onlyOnce drops all but the best hit of an id. Milvus may find a record twice
// while it is being replaced.
func onlyOnce(hits []Hit) []Hit {
	seen := make(map[string]struct{}, len(hits))
	return slices.DeleteFunc(hits, func(h Hit) bool {
		_, twice := seen[h.Record.ID]
		seen[h.Record.ID] = struct{}{}
		return twice
	})
}

func sortHits(hits []Hit) {
	slices.SortFunc(hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Record.ID, b.Record.ID))
	})
}

func hitsOf(r *client.SearchResult) ([]Hit, error) {
	if r.Err != nil {
		return nil, r.Err
	}
	records, err := recordsOf(r.IDs, r.Fields)
	if err != nil {
		return nil, err
	}
	if len(records) != len(r.Scores) {
		return nil, fmt.Errorf("%d records with %d scores", len(records), len(r.Scores))
	}
	hits := make([]Hit, len(records))
	for i := range hits {
		hits[i] = Hit{Record: records[i], Cosine: r.Scores[i]}
	}
	sortHits(hits)
	return onlyOnce(hits), nil
}

// Fetch implements Index. Ids that are not found are asked for again until
// that finds no more: Milvus answers with as many rows as it is asked for ids,
// so while records are being replaced, those that it shows in several versions
// take the place of others, and now and then it shows none of their versions.
func (m *Milvus) Fetch(ctx context.Context, ids []string) ([]Record, error) {
	if err := checkIDs("id", ids); err != nil {
		return nil, err
	}
	found := make(map[string]Record, len(ids))
	for part := range slices.Chunk(ids, fetchChunk) {
		if err := m.fetchAll(ctx, part, found); err != nil {
			return nil, err
		}
	}
	records := make([]Record, 0, len(found))
	for _, id := range ids {
		if r, ok := found[id]; ok {
			records = append(records, r)
		}
	}
	return records, nil
}

func (m *Milvus) fetchAll(ctx context.Context, ids []string, found map[string]Record) error {
	missing := slices.Clone(ids)
	for first := true; len(missing) > 0; first = false {
		before := len(missing)
		if err := m.fetch(ctx, missing, found); err != nil {
			return err
		}
		missing = slices.DeleteFunc(missing, func(id string) bool {
			_, ok := found[id]
			return ok
		})
		if len(missing) == before && !first {
			break
		}
	}
	return nil
}

func (m *Milvus) fetch(ctx context.Context, ids []string, found map[string]Record) error {
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	fields := append([]string{fieldID, fieldEmbedding}, storedFields...)
	columns, err := m.query(ctx, inIDs(ids), fields, entity.ClBounded)
	if err != nil {
		return err
	}
	records, err := recordsOf(columns.GetColumn(fieldID), columns)
	if err != nil {
		return m.fail("query", err)
	}
	for _, r := range records {
		found[r.ID] = r
	}
	return nil
}

// Count implements Index.
func (m *Milvus) Count(ctx context.Context) (int64, error) {
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	const count = "count(*)"
	columns, err := m.query(ctx, "", []string{count}, entity.ClBounded)
	if err != nil {
		return 0, err
	}
	column, ok := columns.GetColumn(count).(*entity.ColumnInt64)
	if !ok || column.Len() != 1 {
		return 0, m.fail("count", fmt.Errorf("the answer holds no number"))
	}
	return column.Data()[0], nil
}

// Barrier implements Index by one Strong read: Milvus answers it when
// everything written before has arrived, which later Bounded reads then see.
func (m *Milvus) Barrier(ctx context.Context) error {
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	_, err := m.query(ctx, inIDs(nil), []string{fieldID}, entity.ClStrong)
	return err
}

func (m *Milvus) query(ctx context.Context, expr string, fields []string, level entity.ConsistencyLevel) (client.ResultSet, error) {
	c, err := m.link.client()
	if err != nil {
		return nil, err
	}
	columns, err := c.Query(ctx, m.collection, nil, expr, fields, client.WithSearchQueryConsistencyLevel(level))
	if err != nil {
		return nil, m.fail("query", err)
	}
	return columns, nil
}
