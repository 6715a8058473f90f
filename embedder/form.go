package embedder

import (
	"cmp"
	"slices"
)

// form takes one batch out of waiting, which is in order of arrival, and
// returns it with the rest. The oldest item is always in the batch, so nothing
// waits for ever, and it goes even where it alone is over the limit.
//
// Where rows are padded to the longest one, the others are those nearest to the
// oldest in length. Where they are not, the next oldest follow: batches of mixed
// lengths all take about the same time, and the longest of them is what a query
// may have to wait for.
func form(waiting []*item, l limits) (batch, rest []*item) {
	if l.packed {
		n := 1
		for total := waiting[0].lengths.sum(); n < len(waiting) && n < l.videos; n++ {
			if total += waiting[n].lengths.sum(); total > l.positions {
				break
			}
		}
		return waiting[:n:n], waiting[n:]
	}
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
	oldest := waiting[0].lengths
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(waiting[a].lengths.distance(oldest), waiting[b].lengths.distance(oldest))
	})
	longest, n := lengths{}, 0
	for _, i := range order {
		longest = longest.max(waiting[i].lengths)
		if n > 0 && (n == l.videos || (n+1)*l.pad(longest).sum() > l.positions) {
			break
		}
		n++
	}
	chosen := order[:n]
	slices.Sort(chosen)
	return chosen
}
