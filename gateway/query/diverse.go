package query

import "videosim/shared/vecdb"

// poolSize is how many candidates diversity chooses among: ten pages, at
// least 100, at most 500 (choosing costs the square of it: 500 take about
// 40 ms on one core), and never less than one page.
func poolSize(k int) int { return max(k, min(max(10*k, 100), 500)) }

// Diversify reorders hits by maximal marginal relevance (Carbonell and
// Goldstein, SIGIR 1998): each next one maximises
//
//	(1-d)·cosine with the query − d·highest cosine with one chosen before.
//
// The best hit stays first. Hits must carry their embeddings.
func Diversify(hits []vecdb.Hit, d float64) []vecdb.Hit {
	nearest := make([]float64, len(hits)) // highest cosine with a chosen hit
	for i := range nearest {
		nearest[i] = -1
	}
	left := append([]vecdb.Hit(nil), hits...)
	chosen := make([]vecdb.Hit, 0, len(hits))
	for len(left) > 0 {
		best, bestGain := 0, 0.0
		for i, h := range left {
			gain := float64(h.Cosine)
			if len(chosen) > 0 {
				gain = (1-d)*gain - d*nearest[i]
			}
			if i == 0 || gain > bestGain {
				best, bestGain = i, gain
			}
		}
		pick := left[best]
		chosen = append(chosen, pick)
		left = append(left[:best], left[best+1:]...) // keeps the order, so ties go to the higher cosine
		nearest = append(nearest[:best], nearest[best+1:]...)
		for i, h := range left {
			nearest[i] = max(nearest[i], dot(pick.Record.Embedding, h.Record.Embedding))
		}
	}
	return chosen
}
