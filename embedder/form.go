package embedder

import (
	"cmp"
	"slices"
)

// form takes one batch out of waiting, which is in order of arrival, and
// returns it with the rest. The oldest item is always in the batch, so nothing
// waits for ever; the others are those nearest to it in length, because every
// row is padded to the longest one. The first item goes even where it alone is
// over the limit.
func form(waiting []*item, l limits) (batch, rest []*item) {
	chosen := choose(waiting, l)
	batch = make([]*item, 0, len(chosen))
	rest = make([]*item, 0, len(waiting)-len(chosen))
	for i, it := range waiting {
		if _, found := slices.BinarySearch(chosen, i); found {
			batch = append(batch, it)
		} else {
			rest = append(rest, it)
		}
	}
	return batch, rest
}

// choose returns the places of one batch's items, ascending.
func choose(waiting []*item, l limits) []int {
	order := make([]int, len(waiting))
	for i := range order {
		order[i] = i
	}
	oldest := waiting[0].positions
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(distance(waiting[a].positions, oldest), distance(waiting[b].positions, oldest))
	})
	longest, n := 0, 0
	for _, i := range order {
		longest = max(longest, waiting[i].positions)
		if n > 0 && (n == l.videos || (n+1)*longest > l.positions) {
			break
		}
		n++
	}
	chosen := order[:n]
	slices.Sort(chosen)
	return chosen
}

func distance(a, b int) int { return max(a-b, b-a) }
