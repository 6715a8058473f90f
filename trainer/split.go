package trainer

import (
	"math/rand/v2"
	"slices"

	"videosim/shared/errs"
	"videosim/shared/eval"
)

// Split divides the labelled pairs into those that train and those that only
// measure. No video occurs on both sides, so a network cannot score a held-out
// pair by remembering a video it was finetuned on.
type Split struct {
	Train, HeldOut []eval.Pair

	// Crossing counts pairs that belong to neither side because one of their
	// videos is held out and the other is not. It is 0 while whole connected
	// components can be held out.
	Crossing int

	heldOut map[string]bool // ids of the held-out videos
}

// IsHeldOut reports whether no stage may learn from the video.
func (s *Split) IsHeldOut(id string) bool { return s.heldOut[id] }

// splitPairs holds out about share of the pairs. Videos that are connected by
// pairs stay together: whole components are drawn in random order until the
// share is reached. Where one component holds so much of the corpus that this
// ends below half the share, videos are drawn one by one instead and the pairs
// that cross the cut are left out.
func splitPairs(pairs []eval.Pair, share float64, seed uint64) (*Split, error) {
	want := int(share*float64(len(pairs)) + 0.5)
	if want < minHeldOut || len(pairs)-want < minHeldOut {
		return nil, errs.New(errs.Invalid, "split pairs: %d labelled pairs leave fewer than %d on one side at held-out share %v: label more pairs", len(pairs), minHeldOut, share)
	}
	rng := rand.New(rand.NewPCG(seed, splitStream))
	split := divide(pairs, drawComponents(pairs, want, rng))
	if len(split.HeldOut) < want/2 {
		split = divide(pairs, drawVideos(pairs, want, rng))
	}
	if len(split.HeldOut) < minHeldOut || len(split.Train) < minHeldOut {
		return nil, errs.New(errs.Invalid, "split pairs: %d pairs connect so that only %d can be held out and %d trained on: label pairs of more videos", len(pairs), len(split.HeldOut), len(split.Train))
	}
	return split, nil
}

// minHeldOut is the least number of pairs on either side of a split: three are
// the fewest whose Spearman coefficient is not fixed at ±1.
const minHeldOut = 3

// splitStream keeps the split's random numbers apart from those of the data
// order and the initial weights, which use the same seed.
const splitStream = 0x5eed_0001

func divide(pairs []eval.Pair, heldOut map[string]bool) *Split {
	s := &Split{heldOut: heldOut}
	for _, p := range pairs {
		switch a, b := heldOut[p.A], heldOut[p.B]; {
		case a && b:
			s.HeldOut = append(s.HeldOut, p)
		case !a && !b:
			s.Train = append(s.Train, p)
		default:
			s.Crossing++
		}
	}
	return s
}

// drawComponents returns the videos of randomly drawn components that together
// hold at most want pairs (the first may fill the share alone).
func drawComponents(pairs []eval.Pair, want int, rng *rand.Rand) map[string]bool {
	sets := newDisjointSets()
	for _, p := range pairs {
		sets.union(p.A, p.B)
	}
	size := make(map[string]int) // pairs by the component's root
	var roots []string
	for _, p := range pairs {
		r := sets.find(p.A)
		if size[r] == 0 {
			roots = append(roots, r)
		}
		size[r]++
	}
	rng.Shuffle(len(roots), func(i, j int) { roots[i], roots[j] = roots[j], roots[i] })

	drawn, room := make(map[string]bool), want
	for _, r := range roots {
		if size[r] <= room {
			drawn[r] = true
			room -= size[r]
		}
	}
	heldOut := make(map[string]bool)
	for _, p := range pairs {
		if drawn[sets.find(p.A)] {
			heldOut[p.A], heldOut[p.B] = true, true
		}
	}
	return heldOut
}

// drawVideos returns randomly drawn videos, taken until want pairs lie wholly
// among them.
func drawVideos(pairs []eval.Pair, want int, rng *rand.Rand) map[string]bool {
	partners := make(map[string][]string)
	var ids []string
	for _, p := range pairs {
		for _, id := range []string{p.A, p.B} {
			if partners[id] == nil {
				ids = append(ids, id)
			}
		}
		partners[p.A] = append(partners[p.A], p.B)
		partners[p.B] = append(partners[p.B], p.A)
	}
	slices.Sort(ids)
	rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })

	heldOut, inside := make(map[string]bool), 0
	for _, id := range ids {
		if inside >= want {
			break
		}
		heldOut[id] = true
		for _, other := range partners[id] {
			if heldOut[other] && other != id {
				inside++
			}
		}
	}
	return heldOut
}

// disjointSets is a union-find forest over ids.
type disjointSets struct{ parent map[string]string }

func newDisjointSets() *disjointSets { return &disjointSets{parent: make(map[string]string)} }

func (d *disjointSets) find(id string) string {
	root := id
	for p, ok := d.parent[root]; ok && p != root; p, ok = d.parent[root] {
		root = p
	}
	for id != root { // path compression
		d.parent[id], id = root, d.parent[id]
	}
	return root
}

func (d *disjointSets) union(a, b string) {
	if ra, rb := d.find(a), d.find(b); ra != rb {
		d.parent[ra] = rb
	}
}
