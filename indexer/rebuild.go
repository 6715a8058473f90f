package indexer

import (
	"context"
	"time"

	"videosim/shared/bus"
	"videosim/shared/errs"
)

// Rebuilding is the note that a rebuild of a model's index is under way: the
// operator's command writes it, waits NoticeTime, and starts the consumer at
// the beginning. While it stands, the indexer believes nothing that the index
// says of itself: every embedding that comes is written, unless this process
// has written it or a newer one since it learnt of the rebuild. That is in
// order all the same: EMBEDDINGS holds one message a video, so an older one
// cannot come after a newer one but from the hands of this very process.
type Rebuilding struct {
	ID         string    `json:"id"` // another one for every rebuild
	Embeddings bool      `json:"embeddings"`
	Until      uint64    `json:"until"` // in EMBEDDINGS, or with Embeddings in VIDEOS: over when this is settled
	Total      uint64    `json:"total"` // messages to go through
	Reset      bool      `json:"reset"` // whether the consumers have been started at the beginning
	Since      time.Time `json:"since"`
}

// RebuildingNote is the name of a model's note.
func RebuildingNote(fingerprint string) string { return "rebuilding." + fingerprint }

const (
	// lookEvery is how old the indexer's knowledge of the note may be.
	lookEvery = 500 * time.Millisecond
	// NoticeTime is after when every running indexer acts on a note.
	NoticeTime = 2 * lookEvery
)

// notice reads the note where it was not read just now.
type notice struct {
	bus    *bus.Bus
	name   string
	looked time.Time
	id     string // of the rebuild under way; "": none
}

// look returns the id of the rebuild under way. Where NATS does not say, the
// last answer holds: the batch in hand came from there a moment ago.
func (n *notice) look(ctx context.Context) string {
	if n == nil || time.Since(n.looked) < lookEvery {
		return n.last()
	}
	var note Rebuilding
	err := n.bus.ReadNote(ctx, n.name, &note)
	if err != nil && errs.KindOf(err) != errs.NotFound {
		return n.id
	}
	n.looked, n.id = time.Now(), note.ID
	return n.id
}

func (n *notice) last() string {
	if n == nil {
		return ""
	}
	return n.id
}
