package embedder

// form takes one batch out of waiting, which is in order of arrival, and
// returns it with the rest. The oldest item is always in the batch, so nothing
// waits for ever, and it goes even where it alone is over the limit. The next
// oldest follow: no padding is computed, so lengths may differ, and batches of
// mixed lengths all take about the same time, the longest of which is what a query
// may have to wait for.
func form(waiting []*item, l limits) (batch, rest []*item) {
	n := 1
	for total := waiting[0].positions; n < len(waiting) && n < l.videos; n++ {
		if total += waiting[n].positions; total > l.positions {
			break
		}
	}
	return waiting[:n:n], waiting[n:]
}
