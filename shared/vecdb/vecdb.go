package vecdb

import (
	"context"
	"time"
)

// Record is one indexed video. A collection holds at most one per ID.
type Record struct {
	ID           string
	Embedding    []float32 // Dim numbers of norm 1
	Title        string
	CategoryID   int64
	TagIDs       []int64
	PublishedAt  time.Time // zero when the producer gave none
	ThumbnailURL string
	Sequence     uint64 // of the video's event in the stream VIDEOS
}

// Filter restricts a search. Zero fields do not restrict; the set ones must all hold.
type Filter struct {
	Categories      []int64   // category is one of these
	Tags            []int64   // at least one tag is one of these
	PublishedAfter  time.Time // inclusive
	PublishedBefore time.Time // exclusive
	ExcludeIDs      []string
}

// Query asks for the K records with the largest inner product with Vector.
type Query struct {
	Vector        []float32 // Dim numbers, not necessarily of norm 1
	K             int       // 1 to MaxK
	Filter        Filter
	WithEmbedding bool // fill Record.Embedding of the hits
}

// MaxK is the largest K of a Query: what Milvus accepts for one search.
const MaxK = 16384

// Hit is one found record. Cosine is the inner product with the query's
// vector: the cosine where both have norm 1.
type Hit struct {
	Record Record
	Cosine float32
}

// Index keeps the embeddings of one model. Implementations are safe for
// concurrent use; writes come from a single writer.
//
// Errors carry the kinds Invalid (a wrong dimension, K or id), Unavailable
// (the store does not answer; retry) and Internal.
type Index interface {
	// Upsert inserts or replaces records. No ID may occur twice in one call.
	Upsert(ctx context.Context, records []Record) error
	// Delete removes records; ids that are not there are no error.
	Delete(ctx context.Context, ids []string) error
	// Barrier returns once every write that returned before the call is
	// visible to Search, Fetch and Count of any client.
	Barrier(ctx context.Context) error
	// Search answers one query, hits in descending order of (Cosine, then ascending ID).
	Search(ctx context.Context, q Query) ([]Hit, error)
	// Fetch returns the records with these ids, embeddings included, in the
	// order of ids; missing ones are left out.
	Fetch(ctx context.Context, ids []string) ([]Record, error)
	// Count returns the number of records.
	Count(ctx context.Context) (int64, error)
	Close() error
}
