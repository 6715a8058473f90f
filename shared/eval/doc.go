// Package eval judges embeddings against people's labels, without any model.
//
//   - spearman.go: rank correlation, number for number what SciPy computes;
//   - bootstrap.go: its confidence interval;
//   - tenths.go: where on the scale a model errs, and whether its scores mean
//     what they say;
//   - pairs.go: label.tsv, read line by line with exact complaints;
//   - evaluate.go: the whole measure, pairs and embeddings in, Spearman out;
//   - cosine.go: the score of a pair and the sum of the two models' halves;
//   - calibration.go: from a cosine to the scale of the labels;
//   - result.go: the challenge's submission file, byte for byte.
//
// Scores are accumulated in float64, so a pair scores the same here, in the
// gateway and in the index, to 1e-6.
//
//	pairs, err := eval.ReadPairs(file, eval.PairLimits{})
//	result := eval.Evaluate(pairs, func(id string) ([]float32, bool) { e, ok := embeddings[id]; return e, ok })
//	fmt.Printf("spearman=%.4f pairs=%d missing=%d\n", result.Spearman, result.Pairs, result.Missing)
package eval
