package trainer

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"videosim/shared/errs"
	"videosim/shared/eval"
)

// labelledPair is a line of label.tsv.
type labelledPair struct {
	eval.Pair
	line int
}

// maxLabels bounds the pairs that are kept in memory, some 200 bytes each. The
// challenge had 67,899.
const maxLabels = 5_000_000

// readLabels reads a label file for training and notes the lines that teach
// nothing: no pair, a video with itself, a pair again. Of several labels of one
// pair in the same order the last counts, as in an evaluation. The same pair in
// the other order is another line to learn from, as the published system has it.
func readLabels(path string, wrong *problems) ([]labelledPair, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	reader := eval.NewPairReader(f, eval.PairLimits{NeedLabel: true})
	var pairs []labelledPair
	first := make(map[[2]string]int) // pair to its place in pairs
	for {
		pair, err := reader.Next()
		switch line := reader.Line(); {
		case err == io.EOF:
			return pairs, nil
		case errs.KindOf(err) == errs.Invalid && err != nil:
			err = wrong.note(lineProblem(path, "label", line, err))
		case err != nil:
			err = fmt.Errorf("read %s: %w", path, err)
		case pair.A == pair.B:
			err = wrong.note(dataProblem{Kind: "label of a video with itself", File: path, Line: line, ID: pair.A,
				Field: "id 2", Expected: "another video", Found: "the same as id 1"})
		default:
			pairs, err = addPair(pairs, first, labelledPair{pair, line}, path, wrong)
		}
		if err != nil {
			return nil, err
		}
	}
}

func addPair(pairs []labelledPair, first map[[2]string]int, p labelledPair, path string, wrong *problems) ([]labelledPair, error) {
	key := [2]string{p.A, p.B}
	at, again := first[key]
	if !again {
		if len(pairs) == maxLabels {
			return nil, errs.New(errs.Invalid, "%s: line %d: expected at most %d pairs, found more", path, p.line, maxLabels)
		}
		first[key] = len(pairs)
		return append(pairs, p), nil
	}
	before := pairs[at]
	x := dataProblem{Kind: "label repeats a pair", File: path, Line: p.line, ID: p.A, Field: "id 1, id 2",
		Expected: "every pair once", Found: fmt.Sprintf("the pair of line %d with the same label", before.line)}
	if before.Label != p.Label {
		x.Kind, x.Field, x.Used = "label contradicts an earlier one", "label", true
		x.Expected = fmt.Sprintf("%s as in line %d", number(before.Label), before.line)
		x.Found = number(p.Label) + ", which counts"
		pairs[at] = p
	}
	return pairs, wrong.note(x)
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// knownPairs leaves out the pairs of videos that have no usable record.
func (c *catalogue) knownPairs(path string, pairs []labelledPair, wrong *problems) ([]eval.Pair, error) {
	kept := make([]eval.Pair, 0, len(pairs))
	for _, p := range pairs {
		missing := false
		for i, id := range []string{p.A, p.B} {
			if _, known := c.where[id]; known {
				continue
			}
			missing = true
			err := wrong.note(dataProblem{Kind: "label of a video without record", File: path, Line: p.line, ID: id,
				Field: fmt.Sprintf("id %d", i+1), Expected: "a video with a usable record", Found: "none"})
			if err != nil {
				return nil, err
			}
		}
		if !missing {
			kept = append(kept, p.Pair)
		}
	}
	return kept, nil
}

// idsOf are the videos of pairs.
func idsOf(pairs []labelledPair) map[string]bool {
	ids := make(map[string]bool, 2*len(pairs))
	for _, p := range pairs {
		ids[p.A], ids[p.B] = true, true
	}
	return ids
}

// readPairs reads a label file of which every line must be a labelled pair: a
// measurement does not pass over mistakes.
func readPairs(path string) ([]eval.Pair, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pairs, err := eval.ReadPairs(f, eval.PairLimits{NeedLabel: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pairs, nil
}

// pairIDs returns every video of pairs once, in order of appearance.
func pairIDs(pairs []eval.Pair) []string {
	seen := make(map[string]bool)
	var ids []string
	for _, p := range pairs {
		for _, id := range []string{p.A, p.B} {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}
