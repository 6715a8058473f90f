package vecdb

import (
	"fmt"
	"strconv"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"videosim/shared/errs"
)

// Fields of a collection. Other programs read them: a name never changes.
const (
	fieldID           = "id"
	fieldEmbedding    = "embedding"
	fieldTitle        = "title"
	fieldCategoryID   = "category_id"
	fieldTagIDs       = "tag_ids"
	fieldPublishedAt  = "published_at" // Unix milliseconds; noTime when unknown
	fieldThumbnailURL = "thumbnail_url"
	fieldSequence     = "sequence"
)

// storedFields is every field but the id, which Milvus returns by itself, and
// the embedding.
var storedFields = []string{fieldTitle, fieldCategoryID, fieldTagIDs, fieldPublishedAt, fieldThumbnailURL, fieldSequence}

func (m *Milvus) schema() *entity.Schema {
	field := func(name string, t entity.FieldType) *entity.Field {
		return entity.NewField().WithName(name).WithDataType(t)
	}
	return entity.NewSchema().WithName(m.collection).WithDescription("embeddings of videos by one model").
		WithField(field(fieldID, entity.FieldTypeVarChar).WithIsPrimaryKey(true).WithMaxLength(MaxIDBytes)).
		WithField(field(fieldEmbedding, entity.FieldTypeFloatVector).WithDim(int64(m.dim))).
		WithField(field(fieldTitle, entity.FieldTypeVarChar).WithMaxLength(MaxTitleBytes)).
		WithField(field(fieldCategoryID, entity.FieldTypeInt64)).
		WithField(field(fieldTagIDs, entity.FieldTypeArray).WithElementType(entity.FieldTypeInt64).WithMaxCapacity(MaxTags)).
		WithField(field(fieldPublishedAt, entity.FieldTypeInt64)).
		WithField(field(fieldThumbnailURL, entity.FieldTypeVarChar).WithMaxLength(MaxThumbnailBytes)).
		WithField(field(fieldSequence, entity.FieldTypeInt64))
}

// dimOf is how many numbers the embeddings of an existing collection have.
func dimOf(s *entity.Schema) (int, error) {
	for _, f := range s.Fields {
		if f.Name == fieldEmbedding {
			return strconv.Atoi(f.TypeParams[entity.TypeParamDim])
		}
	}
	return 0, errs.New(errs.Invalid, "it has no field %s", fieldEmbedding)
}

// checkSchema compares an existing collection with what this version writes.
func checkSchema(found, want *entity.Schema) error {
	byName := make(map[string]*entity.Field, len(found.Fields))
	for _, f := range found.Fields {
		byName[f.Name] = f
	}
	for _, w := range want.Fields {
		f := byName[w.Name]
		switch {
		case f == nil:
			return errs.New(errs.Invalid, "it has no field %s: it was made by another program or version; drop it and rebuild", w.Name)
		case f.DataType != w.DataType || f.PrimaryKey != w.PrimaryKey:
			return errs.New(errs.Invalid, "its field %s is of type %s, expected %s", w.Name, f.DataType.Name(), w.DataType.Name())
		}
		if dim := w.TypeParams[entity.TypeParamDim]; f.TypeParams[entity.TypeParamDim] != dim {
			return errs.New(errs.Invalid, "its embeddings have %s numbers, expected %s", f.TypeParams[entity.TypeParamDim], dim)
		}
	}
	return nil
}

// Index parameters. HNSW with 16 links a node keeps few ways between small
// clusters: of the top ten among 5,000 vectors in 500 clusters, ef 64 found
// 95.5 to 99.4 % from build to build, ef 256 found 99.97 % (DESIGN.md).
const (
	hnswM              = 16
	hnswEfConstruction = 200
	hnswMinEf          = 256   // candidates of a search
	hnswMaxEf          = 32768 // Milvus refuses more
	ivfLists           = 1024
	ivfProbes          = 64
	diskSearchList     = 100
	diskMaxSearchList  = 65535
)

func indexParams(kind string) (entity.Index, error) {
	switch kind {
	case IndexHNSW:
		return entity.NewIndexHNSW(entity.IP, hnswM, hnswEfConstruction)
	case IndexIVFSQ8:
		return entity.NewIndexIvfSQ8(entity.IP, ivfLists)
	case IndexDiskANN:
		return entity.NewIndexDISKANN(entity.IP)
	}
	return nil, fmt.Errorf("unknown index type %q", kind)
}

// searchParams asks for twice as many candidates as hits: a graph search that
// keeps only k loses the last of them. Lists hold two rows on average or more,
// so as many of them as hits are wanted hold enough.
func searchParams(kind string, k int) (entity.SearchParam, error) {
	switch kind {
	case IndexHNSW:
		return entity.NewIndexHNSWSearchParam(max(hnswMinEf, min(2*k, hnswMaxEf)))
	case IndexIVFSQ8:
		return entity.NewIndexIvfSQ8SearchParam(max(ivfProbes, min(k, ivfLists)))
	case IndexDiskANN:
		return entity.NewIndexDISKANNSearchParam(max(diskSearchList, min(2*k, diskMaxSearchList)))
	}
	return nil, fmt.Errorf("unknown index type %q", kind)
}
