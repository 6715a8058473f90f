package bus

import (
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// trail follows what is stored in a stream that keeps one message a subject,
// and turns the floor of a consumer into the sequence up to which every
// message has taken effect. The two differ: a message that is replaced before
// it was handled is gone from the stream, and the floor moves past it as soon
// as its neighbours are done, while neither it nor its replacement has had an
// effect. The server notes every store with the sequence it replaced; so each
// replacement of an unhandled message holds the floor before that message
// until the replacement itself is handled.
//
// Notes are lost when the connection breaks. A gap in their sequences holds
// everything from the known floor on until the whole gap is handled, and a
// start is a gap of everything beyond the mark. trail is pure: no clock, no network.
type trail struct {
	filter string // prefix of the subjects that the consumer gets

	mu    sync.Mutex
	seen  uint64            // notes up to here have come, or lie in gap
	mine  uint64            // the last of them that the consumer gets
	floor uint64            // every message up to here has taken effect; never goes down
	holds map[uint64]uint64 // replacement → first message that it stands for
	gap   gap
	note  chan struct{} // holds a token when a note may have come
}

// gap says that the messages from..to may stand for any message from first on.
// Empty when to is 0.
type gap struct{ first, from, to uint64 }

// maxHolds bounds the memory: beyond, all holds become one gap, which is only
// slower to pass.
const maxHolds = 1 << 16

func newTrail(filter string) *trail {
	return &trail{filter: filter, holds: map[uint64]uint64{}, note: make(chan struct{}, 1)}
}

// receive reads one note of the server.
func (t *trail) receive(msg *nats.Msg) {
	sequence, err := strconv.ParseUint(msg.Header.Get(jetstream.SequenceHeader), 10, 64)
	replaced, bad := strconv.ParseUint(msg.Header.Get(jetstream.LastSequenceHeader), 10, 64)
	if err != nil || bad != nil {
		return // not from the server: anybody may publish anything
	}
	t.stored(sequence, replaced, msg.Header.Get(jetstream.SubjectHeader))
}

// stored takes the note that sequence was stored in place of replaced (0: it
// is the first of its subject).
func (t *trail) stored(sequence, replaced uint64, subject string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sequence <= t.seen {
		return
	}
	if sequence != t.seen+1 {
		t.lost(sequence - 1)
	}
	t.seen = sequence
	if !strings.HasPrefix(subject, t.filter) {
		return
	}
	t.mine = sequence
	if replaced > t.floor {
		t.holds[sequence] = t.standsFor(replaced)
		delete(t.holds, replaced)
		t.compact()
	}
	select {
	case t.note <- struct{}{}:
	default:
	}
}

// standsFor is the first unhandled message whose effect the handling of
// message s would bring.
func (t *trail) standsFor(s uint64) uint64 {
	first := s
	if f, held := t.holds[s]; held {
		first = f
	}
	if t.gap.from <= s && s <= t.gap.to {
		first = min(first, t.gap.first)
	}
	return first
}

// lost marks everything after seen, up to to, as not known.
func (t *trail) lost(to uint64) {
	t.widen(gap{first: t.floor + 1, from: t.seen + 1, to: to})
	t.seen = to
}

func (t *trail) widen(g gap) {
	if t.gap.to > 0 {
		g = gap{min(g.first, t.gap.first), min(g.from, t.gap.from), max(g.to, t.gap.to)}
	}
	t.gap = g
}

func (t *trail) compact() {
	if len(t.holds) <= maxHolds {
		return
	}
	for sequence, first := range t.holds {
		t.widen(gap{first, sequence, sequence})
	}
	clear(t.holds)
}

// knows takes from elsewhere that every message up to floor has taken effect.
func (t *trail) knows(floor uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.floor = max(t.floor, floor)
	t.gap.first = max(t.gap.first, floor+1)
	for replacement, first := range t.holds {
		t.holds[replacement] = max(first, floor+1)
	}
}

// snapshot returns what was stored at least, before the caller asks where the
// consumer stands.
func (t *trail) snapshot() (seen, mine uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen, t.mine
}

// advance takes a floor of the consumer (every message up to settled is
// settled or was replaced) and the stream's last sequence, read after it. It
// returns the sequence up to which every message has taken effect. Where
// notes up to last are still on their way, nothing new is known.
func (t *trail) advance(settled, last uint64) (floor uint64, current bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen < last {
		return t.floor, false
	}
	effect := settled
	for replacement, first := range t.holds {
		if replacement <= settled {
			delete(t.holds, replacement)
		} else {
			effect = min(effect, first-1)
		}
	}
	if t.gap.to > 0 {
		if t.gap.to <= settled {
			t.gap = gap{}
		} else {
			effect = min(effect, t.gap.first-1)
		}
	}
	t.floor = max(t.floor, effect)
	return t.floor, true
}

// resync gives up waiting for notes: the stream holds messages up to last, of
// which mine is the last that the consumer gets, as found after a snapshot
// that said asOf.
func (t *trail) resync(asOf, last, mine uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen != asOf {
		mine = max(mine, t.mine) // notes came meanwhile
	}
	if last > t.seen {
		t.lost(last)
	}
	t.mine = mine
}
