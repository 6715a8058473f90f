package trainer

import (
	"videosim/shared/eval"
)

// calibrationFolds is into how many parts the held-out pairs are cut to judge
// the calibration.
const calibrationFolds = 5

// calibrate fits the map from cosines to scores. Models are surer of the videos
// they learned from, so the held-out pairs weigh as much in it as all training
// pairs do. Scores, those of the held-out pairs, are a fair measure all the
// same: each comes from a curve that saw neither its pair nor any that is
// connected to it through videos.
func calibrate(train, heldOut eval.Result) (c eval.Calibration, scores []float64) {
	folds := foldsOf(heldOut.Scored)
	scores = make([]float64, len(folds))
	for fold := range calibrationFolds {
		var rest eval.Result
		for i, f := range folds {
			if f != fold {
				rest.Cosines, rest.Labels = append(rest.Cosines, heldOut.Cosines[i]), append(rest.Labels, heldOut.Labels[i])
			}
		}
		without := eval.FitBalanced(train, rest)
		for i, f := range folds {
			if f == fold {
				scores[i] = without.Score(heldOut.Cosines[i])
			}
		}
	}
	return eval.FitBalanced(train, heldOut), scores
}

// foldsOf gives every pair a part. Pairs that videos connect are in one; each
// component goes to the part that has least.
func foldsOf(pairs []eval.Pair) []int {
	sets := newDisjointSets()
	size := map[string]int{}
	for _, p := range pairs {
		sets.union(p.A, p.B)
	}
	for _, p := range pairs {
		size[sets.find(p.A)]++
	}
	of := map[string]int{}
	var filled [calibrationFolds]int
	folds := make([]int, len(pairs))
	for i, p := range pairs {
		root := sets.find(p.A)
		fold, known := of[root]
		if !known {
			for k, n := range filled {
				if n < filled[fold] {
					fold = k
				}
			}
			of[root] = fold
			filled[fold] += size[root]
		}
		folds[i] = fold
	}
	return folds
}
