package bus

import (
	"math/rand/v2"
	"testing"
)

// world is a stream that keeps one message a subject, and one consumer.
type world struct {
	last     uint64
	subject  map[uint64]string   // of every message there ever was
	versions map[string][]uint64 // of every subject, rising
	waiting  map[uint64]bool     // in the stream and not settled
	effect   map[string]uint64   // the newest handled version
}

func (w *world) store(subject string) (sequence, replaced uint64) {
	w.last++
	if v := w.versions[subject]; len(v) > 0 {
		replaced = v[len(v)-1]
		delete(w.waiting, replaced) // gone from the stream, and so from the consumer
	}
	w.subject[w.last] = subject
	w.versions[subject] = append(w.versions[subject], w.last)
	w.waiting[w.last] = true
	return w.last, replaced
}

func (w *world) handle() {
	for sequence := range w.waiting { // in any order
		delete(w.waiting, sequence)
		w.effect[w.subject[sequence]] = sequence
		return
	}
}

func (w *world) settled() uint64 {
	floor := w.last
	for sequence := range w.waiting {
		floor = min(floor, sequence-1)
	}
	return floor
}

// check: for every subject, the newest version up to floor, or a later one,
// has taken effect.
func (w *world) check(t *testing.T, floor uint64) {
	t.Helper()
	for subject, versions := range w.versions {
		for _, v := range versions {
			if v <= floor && w.effect[subject] < v {
				t.Fatalf("the floor is %d, but %s is at %d and not at %d", floor, subject, w.effect[subject], v)
			}
		}
	}
}

// TestTrailAgainstWorld: whatever is replaced, whenever, and whatever notes
// are late or lost, the floor never claims an effect that was not there, never
// goes down, and gets to the end once everything is handled.
func TestTrailAgainstWorld(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := &world{subject: map[uint64]string{}, versions: map[string][]uint64{}, waiting: map[uint64]bool{}, effect: map[string]uint64{}}
		tr := newTrail("")
		for range r.IntN(20) { // before the trail begins
			w.store(string(rune('a' + r.IntN(4))))
		}
		tr.resync(0, w.last, w.last)
		var late []func()
		lossy, before := r.IntN(2) == 0, uint64(0)
		for range 300 {
			switch r.IntN(4) {
			case 0:
				subject := string(rune('a' + r.IntN(6)))
				sequence, replaced := w.store(subject)
				if !lossy || r.IntN(10) > 0 {
					late = append(late, func() { tr.stored(sequence, replaced, subject) })
				}
			case 1:
				w.handle()
			case 2: // notes come in order
				for range min(len(late), r.IntN(4)) {
					late[0]()
					late = late[1:]
				}
			case 3:
				floor, current := tr.advance(w.settled(), w.last)
				if floor < before {
					t.Fatalf("seed %d: floor %d after %d", seed, floor, before)
				}
				before = floor
				w.check(t, floor)
				if !current && len(late) == 0 && r.IntN(3) == 0 {
					tr.resync(tr.seen, w.last, w.last)
				}
			}
		}
		for len(w.waiting) > 0 {
			w.handle()
		}
		for _, note := range late {
			note()
		}
		tr.resync(tr.seen, w.last, w.last)
		if floor, _ := tr.advance(w.settled(), w.last); floor != w.last {
			t.Fatalf("seed %d: everything is handled, the floor is %d of %d", seed, floor, w.last)
		}
	}
}

func TestTrailHoldsBeforeAReplacedMessage(t *testing.T) {
	tr := newTrail("")
	tr.resync(0, 0, 0)
	tr.stored(1, 0, "a")
	tr.stored(2, 0, "b")
	tr.stored(3, 1, "a") // 1 was not handled
	tr.stored(4, 3, "a") // nor was 3
	if floor, _ := tr.advance(3, 4); floor != 0 {
		t.Errorf("floor %d, expected 0: what 1 said has no effect before 4 is handled", floor)
	}
	if floor, _ := tr.advance(4, 4); floor != 4 {
		t.Errorf("floor %d, expected 4", floor)
	}
	tr.stored(5, 4, "a") // 4 was handled
	if floor, _ := tr.advance(4, 5); floor != 4 {
		t.Errorf("floor %d, expected 4", floor)
	}
	if floor, current := tr.advance(9, 9); floor != 4 || current {
		t.Errorf("floor %d, current %t: expected 4, false, while notes are on their way", floor, current)
	}
}

func TestTrailIgnoresOtherModels(t *testing.T) {
	tr := newTrail("embeddings.ours.")
	tr.resync(0, 0, 0)
	tr.stored(1, 0, "embeddings.ours.v")
	tr.stored(2, 0, "embeddings.theirs.v")
	tr.stored(3, 2, "embeddings.theirs.v")
	if _, mine := tr.snapshot(); mine != 1 {
		t.Errorf("our last message is %d, expected 1", mine)
	}
	if floor, _ := tr.advance(3, 3); floor != 3 {
		t.Errorf("floor %d, expected 3", floor)
	}
}

func TestTrailIsBounded(t *testing.T) {
	tr := newTrail("")
	tr.resync(0, 0, 0)
	const n = maxHolds + 10
	for i := range uint64(n) {
		tr.stored(i+1, 0, "s")
	}
	for i := range uint64(n) {
		tr.stored(n+i+1, i+1, "s")
	}
	if len(tr.holds) > maxHolds {
		t.Errorf("%d holds, expected at most %d", len(tr.holds), maxHolds)
	}
	if floor, _ := tr.advance(n+1, 2*n); floor != 0 {
		t.Errorf("floor %d, expected 0", floor)
	}
	if floor, _ := tr.advance(2*n-1, 2*n); floor != n-1 {
		t.Errorf("floor %d, expected %d: only the last one is missing", floor, n-1)
	}
	if floor, _ := tr.advance(2*n, 2*n); floor != 2*n {
		t.Errorf("floor %d, expected %d", floor, 2*n)
	}
}
