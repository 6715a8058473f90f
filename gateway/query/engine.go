package query

import (
	"context"

	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

// Lane embeds contents that are in no index, while the caller waits: one
// result a video, or an error about the whole request. *bus.Bus is the real one.
type Lane interface {
	RequestEmbed(ctx context.Context, fingerprint string, req *event.EmbedRequest) (*event.EmbedReply, error)
}

// Answered is a search with the index's answer: an exact index answers the K
// best of the videos that were indexed up to the event Seen, or newer versions.
type Answered struct {
	Query vecdb.Query
	Seen  uint64
	Hits  []vecdb.Hit
}

// Model is the model that an Engine answers for.
type Model struct {
	Fingerprint string
	Dim         int // numbers in an embedding
	FrameDim    int // numbers in a frame; 0: not checked here
	Calibration eval.Calibration
}

// Engine answers questions about one model's embeddings. It is safe for
// concurrent use and keeps nothing between two calls but Vectors.
type Engine struct {
	Index vecdb.Index
	Lane  Lane
	Model Model
	Pages *Pages // seals page tokens
	// Vectors, where set, spares queries by id their fetch.
	Vectors *Vectors
	// Watch, where set, is shown answers, to check a sample of them later. It
	// must not block nor keep Hits.
	Watch func(Answered)
}

// Limits of one call. They bound the memory and the time that one caller can
// take; a caller with more asks more often.
const (
	MaxK        = 1000 // results a page
	MaxInputs   = 256  // positives and negatives of one query
	MaxContents = 64   // contents embedded for one call
	MaxExclude  = 1000 // ids left out of one query
	MaxFilter   = 256  // categories, or tags, of one filter
	MaxPairs    = 8192 // pairs of one JSON call; the stream has no such limit
	MaxQueries  = 64   // queries of one batch
)

// Score maps a cosine to the human scale of 0 to 1.
func (m Model) Score(cosine float64) float64 { return m.Calibration.Score(cosine) }
