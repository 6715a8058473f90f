package vecdb

import (
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
)

// columnsOf turns records into Milvus's columns.
func columnsOf(records []Record, dim int) []entity.Column {
	n := len(records)
	ids, titles, thumbnails := make([]string, n), make([]string, n), make([]string, n)
	vectors, tags := make([][]float32, n), make([][]int64, n)
	categories, published, sequences := make([]int64, n), make([]int64, n), make([]int64, n)
	for i := range records {
		r := &records[i]
		ids[i], titles[i], thumbnails[i] = r.ID, storedTitle(r.Title), r.ThumbnailURL
		vectors[i], tags[i] = r.Embedding, r.TagIDs
		categories[i], published[i], sequences[i] = r.CategoryID, storedTime(r.PublishedAt), int64(r.Sequence)
	}
	return []entity.Column{
		entity.NewColumnVarChar(fieldID, ids),
		entity.NewColumnFloatVector(fieldEmbedding, dim, vectors),
		entity.NewColumnVarChar(fieldTitle, titles),
		entity.NewColumnInt64(fieldCategoryID, categories),
		entity.NewColumnInt64Array(fieldTagIDs, tags),
		entity.NewColumnInt64(fieldPublishedAt, published),
		entity.NewColumnVarChar(fieldThumbnailURL, thumbnails),
		entity.NewColumnInt64(fieldSequence, sequences),
	}
}

// recordsOf is the inverse; embeddings are filled where their column is there.
func recordsOf(ids entity.Column, columns client.ResultSet) ([]Record, error) {
	names, ok := ids.(*entity.ColumnVarChar)
	if !ok {
		return nil, fmt.Errorf("the answer's ids are of type %T", ids)
	}
	records := make([]Record, names.Len())
	for i, id := range names.Data() {
		records[i].ID = id
	}
	for _, c := range columns {
		if err := addColumn(records, c); err != nil {
			return nil, err
		}
	}
	return records, nil
}

func addColumn(records []Record, c entity.Column) error {
	if c.Len() != len(records) {
		return fmt.Errorf("field %s has %d values for %d records", c.Name(), c.Len(), len(records))
	}
	switch c := c.(type) {
	case *entity.ColumnVarChar:
		return addStrings(records, c)
	case *entity.ColumnInt64:
		return addNumbers(records, c)
	case *entity.ColumnInt64Array:
		for i, tags := range c.Data() {
			if len(tags) > 0 {
				records[i].TagIDs = slices.Clone(tags)
			}
		}
		return nil
	case *entity.ColumnFloatVector:
		for i, v := range c.Data() {
			records[i].Embedding = v
		}
		return nil
	}
	return fmt.Errorf("field %s is of unexpected type %T", c.Name(), c)
}

func addStrings(records []Record, c *entity.ColumnVarChar) error {
	for i, s := range c.Data() {
		switch c.Name() {
		case fieldID:
			records[i].ID = s
		case fieldTitle:
			records[i].Title = s
		case fieldThumbnailURL:
			records[i].ThumbnailURL = s
		default:
			return fmt.Errorf("unexpected field %s", c.Name())
		}
	}
	return nil
}

func addNumbers(records []Record, c *entity.ColumnInt64) error {
	for i, v := range c.Data() {
		switch c.Name() {
		case fieldCategoryID:
			records[i].CategoryID = v
		case fieldPublishedAt:
			records[i].PublishedAt = loadedTime(v)
		case fieldSequence:
			records[i].Sequence = uint64(v)
		default:
			return fmt.Errorf("unexpected field %s", c.Name())
		}
	}
	return nil
}
