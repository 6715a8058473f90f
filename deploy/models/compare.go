package models

import (
	"context"
	"fmt"
	"math"
	"time"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

const (
	compareBatch = 500
	// unhurried is a pace, in embeddings a second, that Milvus does not reach.
	unhurried = 1_000_000
	// sameVector is the least cosine of a row with the stream's embedding of
	// the same event: both hold the same float32 numbers.
	sameVector = 0.9999
	normError  = 1e-3
	// A row that does not agree is looked at again this often.
	looks     = 5
	lookPause = time.Second
)

// comparison holds the collection against the stream EMBEDDINGS, batch by
// batch, so that its memory does not grow with either.
type comparison struct {
	bus         *bus.Bus
	index       *vecdb.Milvus
	fingerprint string
	dim         int

	live, deleted int // embeddings and tombstones of the stream
	missing       int // rows that are not there, older, or should be gone
	wrong         int // rows or embeddings that this model cannot have made
	example       string
	firstWrong    string
}

func (c *comparison) run(ctx context.Context) error {
	var batch []*event.Embedding
	err := c.bus.ScanEmbeddings(ctx, c.fingerprint, unhurried, func(e *event.Embedding) error {
		batch = append(batch, e)
		if len(batch) < compareBatch {
			return nil
		}
		full := batch
		batch = nil
		return c.batch(ctx, full)
	})
	if err != nil {
		return err
	}
	return c.batch(ctx, batch)
}

func (c *comparison) batch(ctx context.Context, batch []*event.Embedding) error {
	rows, err := c.rows(ctx, batch)
	if err != nil {
		return err
	}
	var doubtful []*event.Embedding
	for _, e := range batch {
		if e.GetDeleted() {
			c.deleted++
		} else {
			c.live++
			c.checkEmbedding(e)
		}
		if !c.agrees(e, rows) {
			doubtful = append(doubtful, e)
		}
	}
	return c.lookAgain(ctx, doubtful)
}

// rows reads the batch's ids from the collection.
func (c *comparison) rows(ctx context.Context, batch []*event.Embedding) (map[string]vecdb.Record, error) {
	ids := make([]string, len(batch))
	for i, e := range batch {
		ids[i] = e.GetId()
	}
	records, err := c.index.Fetch(ctx, ids)
	if err != nil {
		return nil, err
	}
	rows := make(map[string]vecdb.Record, len(records))
	for _, r := range records {
		rows[r.ID] = r
	}
	return rows, nil
}

// agrees reports whether the row is of e's event or a later one, or gone as e
// says. A row of the very event must hold e's numbers.
func (c *comparison) agrees(e *event.Embedding, rows map[string]vecdb.Record) bool {
	row, found := rows[e.GetId()]
	switch {
	case e.GetDeleted():
		return !found || row.Sequence > e.GetSequence()
	case !found || row.Sequence < e.GetSequence():
		return false
	case row.Sequence == e.GetSequence() && len(row.Embedding) == len(e.GetEmbedding()) && eval.Cosine(row.Embedding, e.GetEmbedding()) < sameVector:
		c.fault("%s: the row's numbers are not those that the model made", e.GetId())
	}
	return true
}

// lookAgain gives the index time to catch up with what was stored just now,
// and separates what is missing from what was replaced since it was read.
func (c *comparison) lookAgain(ctx context.Context, doubtful []*event.Embedding) error {
	for range looks {
		if len(doubtful) == 0 {
			return nil
		}
		select {
		case <-time.After(lookPause):
		case <-ctx.Done():
			return ctx.Err()
		}
		rows, err := c.rows(ctx, doubtful)
		if err != nil {
			return err
		}
		var still []*event.Embedding
		for _, e := range doubtful {
			replaced, err := c.replaced(ctx, e)
			if err != nil {
				return err
			}
			if !replaced && !c.agrees(e, rows) {
				still = append(still, e)
			}
		}
		doubtful = still
	}
	c.missing += len(doubtful)
	if c.example == "" && len(doubtful) > 0 {
		c.example = fmt.Sprintf("; the first: %s at sequence %d", doubtful[0].GetId(), doubtful[0].GetSequence())
	}
	return nil
}

// replaced reports whether the stream holds something newer than e by now.
func (c *comparison) replaced(ctx context.Context, e *event.Embedding) (bool, error) {
	last, err := c.bus.LastEmbedding(ctx, c.fingerprint, e.GetId())
	if kind := errs.KindOf(err); err != nil && kind != errs.NotFound && kind != errs.Corrupt {
		return false, err
	}
	return last.GetSequence() > e.GetSequence(), nil
}

func (c *comparison) checkEmbedding(e *event.Embedding) {
	sum := 0.0
	for _, x := range e.GetEmbedding() {
		sum += float64(x) * float64(x)
	}
	switch norm := math.Sqrt(sum); {
	case e.GetFingerprint() != c.fingerprint:
		c.fault("%s: its embedding is of %q", e.GetId(), e.GetFingerprint())
	case len(e.GetEmbedding()) != c.dim:
		c.fault("%s: %d numbers", e.GetId(), len(e.GetEmbedding()))
	case !(math.Abs(norm-1) <= normError): // also where a number is not finite
		c.fault("%s: norm %v", e.GetId(), norm)
	}
}

func (c *comparison) fault(format string, args ...any) {
	c.wrong++
	if c.firstWrong == "" {
		c.firstWrong = "; the first: " + fmt.Sprintf(format, args...)
	}
}
