package indexer

import (
	"math"
	"runtime"
	"sync"
	"time"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

// change is what the messages of one video in one batch come to: the newest of
// them. One change an id makes a bulk write independent of the order inside it.
type change struct {
	effect   *event.Embedding
	messages []*bus.Message // all that this change settles, the overtaken ones too
}

// decoded is what decode says of a message.
type decoded struct {
	embedding *event.Embedding
	err       error
}

// decodeAll decodes a batch, by all cores where it is long.
func decodeAll(batch []*bus.Message, fingerprint string, dim int) []decoded {
	const least = 64 // messages that are worth another core's start
	all := make([]decoded, len(batch))
	cores := runtime.GOMAXPROCS(0)
	share := max(least, (len(batch)+cores-1)/cores)
	var wait sync.WaitGroup
	for start := 0; start < len(batch); start += share {
		wait.Go(func() {
			var scratch []byte
			for i := start; i < min(start+share, len(batch)); i++ {
				all[i].embedding, all[i].err = decode(batch[i], fingerprint, dim, &scratch)
			}
		})
	}
	wait.Wait()
	return all
}

// decode reads a message of EMBEDDINGS and checks that it may enter the index
// of this model: 256 (dim) finite numbers of norm 1, or a tombstone.
func decode(m *bus.Message, fingerprint string, dim int, scratch *[]byte) (*event.Embedding, error) {
	e, err := unmarshal(m.Data, scratch)
	if err != nil {
		return nil, errs.New(errs.Corrupt, "decode the embedding: %w", err)
	}
	id, err := event.IDFromSubject(m.Subject)
	switch {
	case err != nil:
		return nil, err
	case e.GetId() != id:
		return nil, errs.Field("id", "expected %q as in the subject, found %q", id, e.GetId())
	case e.GetFingerprint() != fingerprint:
		return nil, errs.Field("fingerprint", "expected %s, found %s: embeddings of two models never share an index", fingerprint, e.GetFingerprint())
	case e.GetSequence() == 0:
		return nil, errs.Field("sequence", "expected the sequence of the video's event, found none")
	case e.GetDeleted():
		return e, nil
	}
	return e, checkEmbedding(e.GetEmbedding(), dim)
}

// normTolerance is how far from 1 a stored norm may be: float32 rounding of
// 256 numbers is 1e-6, so this only catches what was never normalised.
const normTolerance = 1e-3

func checkEmbedding(x []float32, dim int) error {
	if len(x) != dim {
		return errs.Field("embedding", "expected %d numbers, found %d", dim, len(x))
	}
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	norm := math.Sqrt(sum)
	if math.Abs(norm-1) <= normTolerance { // which no norm is that a NaN or an infinity has entered
		return nil
	}
	for i, v := range x {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return errs.New(errs.Corrupt, "embedding: expected finite numbers, found %v at place %d", v, i)
		}
	}
	return errs.New(errs.Corrupt, "embedding: expected norm 1 (±%g), found %g", normTolerance, norm)
}

// plan collects the changes of a batch, in order of first appearance.
type plan struct {
	changes []*change
	byID    map[string]*change
}

func newPlan(size int) *plan {
	return &plan{byID: make(map[string]*change, size)}
}

// add merges one decoded message; the higher sequence wins, whatever the order
// of arrival.
func (p *plan) add(m *bus.Message, e *event.Embedding) {
	c := p.byID[e.GetId()]
	if c == nil {
		c = &change{effect: e}
		p.byID[e.GetId()] = c
		p.changes = append(p.changes, c)
	}
	if e.GetSequence() > c.effect.GetSequence() {
		c.effect = e
	}
	c.messages = append(c.messages, m)
}

// messages returns every message that the changes settle.
func messages(changes []*change) []*bus.Message {
	var all []*bus.Message
	for _, c := range changes {
		all = append(all, c.messages...)
	}
	return all
}

// split separates the changes into records to upsert and ids to delete.
func split(changes []*change) (records []vecdb.Record, deleted []string) {
	for _, c := range changes {
		if c.effect.GetDeleted() {
			deleted = append(deleted, c.effect.GetId())
		} else {
			records = append(records, record(c.effect))
		}
	}
	return records, deleted
}

func record(e *event.Embedding) vecdb.Record {
	var published time.Time
	if e.GetPublishedAt() != nil {
		published = e.GetPublishedAt().AsTime()
	}
	return vecdb.Record{
		ID: e.GetId(), Embedding: e.GetEmbedding(), Title: e.GetTitle(), CategoryID: e.GetCategoryId(),
		TagIDs: e.GetTagIds(), PublishedAt: published, ThumbnailURL: e.GetThumbnailUrl(),
		Sequence: e.GetSequence(),
	}
}
