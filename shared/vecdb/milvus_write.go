package vecdb

import (
	"context"
	"slices"
)

const (
	// upsertBytes bounds one request, well below the 64 MB that Milvus takes.
	upsertBytes = 8 << 20
	deleteChunk = 2000
)

// Upsert implements Index. A call larger than one request is sent as several:
// when one fails, the ones before it have taken effect, and the same call may
// be repeated.
func (m *Milvus) Upsert(ctx context.Context, records []Record) error {
	if err := checkRecords(records, m.dim); err != nil {
		return err
	}
	for len(records) > 0 {
		n := m.requestRows(records)
		if err := m.upsert(ctx, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// requestRows is how many of the records fit into one request, at least one.
func (m *Milvus) requestRows(records []Record) int {
	size := 0
	for i := range records {
		r := &records[i]
		size += 4*m.dim + len(r.ID) + len(r.Title) + len(r.ThumbnailURL) + 8*len(r.TagIDs) + 64
		if size > upsertBytes && i > 0 {
			return i
		}
	}
	return len(records)
}

func (m *Milvus) upsert(ctx context.Context, records []Record) error {
	c, err := m.link.client()
	if err != nil {
		return err
	}
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	// Never an insert: Milvus would keep two rows of one id.
	if _, err := c.Upsert(ctx, m.collection, "", columnsOf(records, m.dim)...); err != nil {
		return m.fail("upsert into", err)
	}
	return nil
}

// Delete implements Index.
func (m *Milvus) Delete(ctx context.Context, ids []string) error {
	if err := checkIDs("id", ids); err != nil {
		return err
	}
	for part := range slices.Chunk(ids, deleteChunk) {
		if err := m.remove(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func (m *Milvus) remove(ctx context.Context, ids []string) error {
	c, err := m.link.client()
	if err != nil {
		return err
	}
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	if err := c.Delete(ctx, m.collection, "", inIDs(ids)); err != nil {
		return m.fail("delete from", err)
	}
	return nil
}
