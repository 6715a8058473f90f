package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
)

const (
	// markEvery is how often a mark is left while events come, and markRetry
	// where that fails, so that it does not hold up the rounds.
	markEvery = time.Second
	markRetry = time.Minute
	// markTimeout bounds the leaving and the recalling of a mark.
	markTimeout = 2 * time.Second
)

// mark is what a Progress leaves for the next one of its model. Without it, one
// that starts while events wait knows nothing until they are through: what they
// replaced is forgotten. It counts where both places are still as they were.
type mark struct {
	Sequence   uint64 `json:"sequence"` // the indexed sequence
	Videos     place  `json:"videos"`
	Embeddings place  `json:"embeddings"`
}

// place is where a follower stood. A consumer that was made anew is there to
// do again what was lost: an index found empty, one in the memory of a process
// that ended, embeddings dropped on purpose. A stream that lost its end, to a
// power failure or a restore, has another message in the last one's place, or
// none; so has one where an edit replaced that message, and then nothing is known.
type place struct {
	Made time.Time `json:"made"` // the consumer
	Last uint64    `json:"last"` // message of the stream; 0: none was ever stored
	Time time.Time `json:"time"` // of that message
}

func markNote(fingerprint string) string { return "progress-" + fingerprint }

// recall takes up the mark that the Progress before this one has left. Where
// it cannot be read, progress begins as if there were none.
func (p *Progress) recall(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	var m mark
	err := p.b.ReadNote(within, markNote(p.fingerprint), &m)
	if err == nil {
		err = p.resume(within, m)
	}
	if err != nil && errs.KindOf(err) != errs.NotFound && ctx.Err() == nil {
		p.b.log.Warn("how far the index had come cannot be read: what waits now is counted first", "error", err)
	}
}

// resume takes from a mark what still counts. An index in memory is empty now,
// but what is embedded is embedded.
func (p *Progress) resume(ctx context.Context, m mark) error {
	embedded, err := p.videos.still(ctx, m.Videos)
	if err != nil || !embedded {
		return err
	}
	stored, err := p.embeddings.holds(ctx, m.Embeddings)
	if err != nil || !stored {
		return err
	}
	p.videos.trail.knows(m.Sequence)
	indexed, err := p.embeddings.still(ctx, m.Embeddings)
	if err == nil && indexed {
		p.left = m
		p.grow(m.Sequence)
	}
	return err
}

// leave leaves a mark where something has come since the last, in the end or
// now and then.
func (p *Progress) leave(ctx context.Context, end bool) {
	m := mark{Sequence: p.Sequence(), Videos: p.videos.place, Embeddings: p.embeddings.place}
	early := !end && time.Now().Before(p.leaveAfter)
	if m.Sequence == 0 || m == p.left || p.videos.unsure || p.embeddings.unsure || early || !p.b.Conn.IsConnected() {
		return
	}
	within, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	err := p.b.WriteNote(within, markNote(p.fingerprint), m)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		p.b.log.Warn("how far the index has come cannot be kept for the next start", "error", err)
		p.leaveAfter = time.Now().Add(markRetry)
		return
	}
	p.left, p.leaveAfter = m, time.Now().Add(markEvery)
}

// errLost: what a Progress has seen may be lost, so it begins again. The stream
// is another or lost its end, and sequences are used again; or the consumer that
// fills the index was made anew, which is done where the index was found empty.
// (An embedder that was made anew takes nothing out of the index.)
var errLost = errors.New("what was seen may be lost")

// same refuses another stream of the same name.
func (f *follower) same(stream StreamState) error {
	if f.made.IsZero() {
		f.made = stream.Created
	}
	if !f.made.Equal(stream.Created) {
		return fmt.Errorf("%w: stream %s was made anew", errLost, f.stream)
	}
	return nil
}

// moves takes down where the follower stands now, as asked for on a connection.
func (f *follower) moves(ctx context.Context, to place, connection uint64) error {
	from := f.place
	if !from.Made.IsZero() {
		remade := !from.Made.Equal(to.Made)
		f.unsure = f.unsure || remade
		switch {
		case to.Last < from.Last:
			return fmt.Errorf("%w: stream %s ends at %d, and had ended at %d", errLost, f.stream, to.Last, from.Last)
		case remade && f.fills:
			return fmt.Errorf("%w: consumer %s was made anew", errLost, f.durable)
		}
	}
	// After a break of the connection the server may be another history's, also
	// where that is as long by now.
	if f.b.Conn.Stats().Reconnects != f.connection && from.Last > 0 {
		at, err := f.stored(ctx, from.Last)
		switch {
		case err != nil:
			return err
		case at.IsZero(): // an edit may have replaced it
			f.unsure = true
		case !at.Equal(from.Time):
			return fmt.Errorf("%w: message %d of %s is of %s, and was of %s", errLost, from.Last, f.stream, at, from.Time)
		}
	}
	f.connection, f.place = connection, to
	return nil
}

// still reports whether the follower may go on from a place, and holds whether
// the stream has not lost its end since.
func (f *follower) still(ctx context.Context, was place) (bool, error) {
	connection := f.b.Conn.Stats().Reconnects
	info, err := f.b.ConsumerInfo(ctx, f.stream, f.durable)
	if err != nil || !info.Created.Equal(was.Made) || info.memoryOf != "" && info.memoryOf != f.b.id {
		return false, err
	}
	held, err := f.holds(ctx, was)
	if err == nil && held {
		f.connection, f.place = connection, was
	}
	return held, err
}

func (f *follower) holds(ctx context.Context, was place) (bool, error) {
	if was.Last == 0 {
		return true, nil
	}
	at, err := f.stored(ctx, was.Last)
	return err == nil && !at.IsZero() && at.Equal(was.Time), err
}

// stored returns the time of a message, zero where it is not in the stream.
func (f *follower) stored(ctx context.Context, sequence uint64) (time.Time, error) {
	s, err := f.b.stream(ctx, f.stream)
	if err != nil {
		return time.Time{}, err
	}
	msg, err := s.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, kinded(err, "message %d of %s", sequence, f.stream)
	}
	return msg.Time, nil
}
