package eval

import "math"

// Tenth is one tenth of the scale from 0 to 1 and the pairs in it. Its figures
// are NaN where it has none.
type Tenth struct {
	From, To             float64 // To belongs to the next one, but for the last
	Pairs                int
	MeanLabel, MeanScore float64
	MeanAbsError         float64 // of scores against labels
	Spearman             float64 // of cosines against labels, inside the tenth
}

// Tenths divides pairs by the value of by, each pair's label or its score, and
// describes the ten groups: by label they say where a model errs, by score
// whether a score means what it says. They are tenths of the scale and not of
// the pairs, because 36 % of the challenge's labels are 0: of ten groups of
// equal size four would be that one label.
func Tenths(by, labels, cosines, scores []float64) []Tenth {
	groups := make([][]int, 10)
	for i, v := range by {
		at := max(0, min(9, int(10*v))) // labels in steps of 0.1 fall exactly on a border
		groups[at] = append(groups[at], i)
	}
	out := make([]Tenth, len(groups))
	for i, group := range groups {
		out[i] = describe(group, labels, cosines, scores)
		out[i].From, out[i].To = float64(i)/10, float64(i+1)/10
	}
	return out
}

func describe(group []int, labels, cosines, scores []float64) Tenth {
	t := Tenth{Pairs: len(group)}
	x, y := make([]float64, len(group)), make([]float64, len(group))
	for i, k := range group {
		x[i], y[i] = labels[k], cosines[k]
		t.MeanLabel += labels[k]
		t.MeanScore += scores[k]
		t.MeanAbsError += math.Abs(scores[k] - labels[k])
	}
	n := float64(len(group)) // 0/0 is NaN
	t.MeanLabel, t.MeanScore, t.MeanAbsError = t.MeanLabel/n, t.MeanScore/n, t.MeanAbsError/n
	t.Spearman = Spearman(x, y)
	return t
}

// CalibrationError is by how much mean score and mean label of a tenth differ,
// as a mean over the pairs of all tenths (Naeini et al. 2015). The tenths are
// those by score. NaN where there is no pair.
func CalibrationError(byScore []Tenth) float64 {
	sum, pairs := 0.0, 0
	for _, t := range byScore {
		if t.Pairs > 0 {
			sum += float64(t.Pairs) * math.Abs(t.MeanScore-t.MeanLabel)
			pairs += t.Pairs
		}
	}
	return sum / float64(pairs)
}
