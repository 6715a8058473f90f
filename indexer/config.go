package indexer

import (
	"fmt"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/vecdb"
)

// Config of the indexer. Every field is a flag, a key of the config file and
// an environment variable of the same name.
type Config struct {
	Bundle      string `help:"Folder of the bundle whose embeddings to index; only its manifest is read." placeholder:"DIR" type:"path"`
	Fingerprint string `help:"Fingerprint of the model, in place of a bundle." placeholder:"HEX"`
	Dim         int    `help:"Numbers in an embedding, where no bundle says so." default:"256"`

	Settings `embed:""`
	Index    vecdb.Config `embed:""`
	NATS     bus.Config   `embed:"" prefix:"nats-"`
}

// Settings are those of the indexer alone; the all-in-one program has them too.
type Settings struct {
	BatchEmbeddings int           `help:"Most embeddings in one write." default:"2000"`
	MaxPending      int           `help:"Embeddings taken from the stream and not yet acknowledged. About 4 KiB of memory each." default:"8000"`
	KnownSequences  int           `help:"Videos whose newest sequence is kept in memory, so that most writes need no look-up in the index first. About 150 bytes each; at least max-pending." default:"200000"`
	AckWait         time.Duration `help:"Silence after which NATS delivers an embedding again. Embeddings at work are kept alive by themselves." default:"30s"`
	MaxDeliver      int           `help:"Deliveries after which an embedding that fails for an unknown reason becomes a dead letter." default:"5"`
	WriteTimeout    time.Duration `help:"Deadline of one call to the index; a call that misses it is made again." default:"30s"`
}

// Validate returns an Invalid error that names the first field at fault.
func (c Config) Validate() error {
	if (c.Bundle == "") == (c.Fingerprint == "") {
		return errs.Field("bundle", "expected either bundle or fingerprint, found %q and %q", c.Bundle, c.Fingerprint)
	}
	if c.Fingerprint != "" && !bundle.ValidFingerprint(c.Fingerprint) {
		return errs.Field("fingerprint", "expected 12 hex digits, found %q", c.Fingerprint)
	}
	if c.Fingerprint != "" && (c.Dim < 1 || c.Dim > 32768) {
		return errs.Field("dim", "expected 1 to 32768, found %d", c.Dim)
	}
	for _, f := range []struct {
		name            string
		value, min, max int
	}{
		{"batch-embeddings", c.BatchEmbeddings, 1, 16384},
		{"max-pending", c.MaxPending, c.BatchEmbeddings, 1 << 20},
		{"known-sequences", c.KnownSequences, c.MaxPending, 1 << 30},
		{"max-deliver", c.MaxDeliver, 1, 1000},
	} {
		if f.value < f.min || f.value > f.max {
			return errs.Field(f.name, "expected %d to %d, found %d", f.min, f.max, f.value)
		}
	}
	if c.AckWait < time.Second {
		return errs.Field("ack-wait", "expected at least 1s, found %s", c.AckWait)
	}
	if c.WriteTimeout < time.Millisecond {
		return errs.Field("write-timeout", "expected at least 1ms, found %s", c.WriteTimeout)
	}
	if err := c.Index.Validate(); err != nil {
		return err
	}
	if err := c.NATS.Validate(); err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	return nil
}
