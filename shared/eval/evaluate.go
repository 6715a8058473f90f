package eval

import "slices"

// maxMissingIDs bounds the list of ids in a Result; Missing counts them all.
const maxMissingIDs = 100

// Result is the outcome of an evaluation.
type Result struct {
	// Spearman is NaN where it is undefined: fewer than two scored pairs, or
	// all labels or all scores alike. JSON has no NaN; test before encoding.
	Spearman float64
	// Pairs is how many different pairs were scored.
	Pairs int
	// Missing is how many different pairs were passed over because one of
	// their videos has no embedding; MissingIDs names up to 100 such videos,
	// in order of appearance.
	Missing    int
	MissingIDs []string
	// Unlabelled is how many pairs carried no label.
	Unlabelled int
	// Scored are the pairs that were scored, in order of their first
	// appearance; Labels and Cosines are their values, what a Calibration is
	// fitted to.
	Scored          []Pair
	Labels, Cosines []float64
}

// Evaluate compares the cosines of labelled pairs with their labels. It is
// the reference's measure: a pair that is repeated in the same order of ids
// counts once, at its first place and with its last label; pairs with an
// unknown id are passed over. A lookup should return the same embedding for
// an id every time.
func Evaluate(pairs []Pair, lookup func(id string) ([]float32, bool)) Result {
	var r Result
	pairs, r.Unlabelled = Distinct(pairs)
	for _, p := range pairs {
		a, okA := lookup(p.A)
		b, okB := lookup(p.B)
		if !okA || !okB {
			r.Missing++
			r.noteMissing(p.A, okA)
			r.noteMissing(p.B, okB)
			continue
		}
		r.Scored = append(r.Scored, p)
		r.Labels = append(r.Labels, p.Label)
		r.Cosines = append(r.Cosines, Cosine(a, b))
	}
	r.Pairs = len(r.Labels)
	r.Spearman = Spearman(r.Labels, r.Cosines)
	return r
}

func (r *Result) noteMissing(id string, known bool) {
	if known || len(r.MissingIDs) == maxMissingIDs || slices.Contains(r.MissingIDs, id) {
		return
	}
	r.MissingIDs = append(r.MissingIDs, id)
}

// Distinct returns the pairs that count: each once, at its first place and with
// its last label. Those without a label are left out and counted.
func Distinct(pairs []Pair) (kept []Pair, unlabelled int) {
	type key struct{ a, b string }
	first := make(map[key]int, len(pairs))
	kept = make([]Pair, 0, len(pairs))
	for _, p := range pairs {
		if !p.HasLabel {
			unlabelled++
			continue
		}
		if i, seen := first[key{p.A, p.B}]; seen {
			kept[i].Label = p.Label
			continue
		}
		first[key{p.A, p.B}] = len(kept)
		kept = append(kept, p)
	}
	return kept, unlabelled
}
