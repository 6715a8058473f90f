package vecdb

import (
	"math"
	"slices"
)

// candidate is a row that was among the K best when it was met, copied out of
// its block (strings are immutable, so rest is shared).
type candidate struct {
	cosine    float32
	category  int64
	published int64
	sequence  uint64
	rest      string
	embedding []float32
}

// topK keeps the k best candidates; the worst of them is heap[0].
type topK struct {
	k    int
	heap []candidate
}

// threshold is the product that a row must reach to be accepted.
func (t *topK) threshold() float32 {
	if len(t.heap) < t.k {
		return float32(math.Inf(-1))
	}
	return t.heap[0].cosine
}

func (t *topK) accepts(c *candidate) bool {
	return len(t.heap) < t.k || compareCandidates(*c, t.heap[0]) < 0
}

// push adds an accepted candidate, in place of the worst when there are k.
func (t *topK) push(c candidate) {
	if len(t.heap) < t.k {
		t.heap = append(t.heap, c)
		t.up(len(t.heap) - 1)
		return
	}
	t.heap[0] = c
	t.down(0)
}

func (t *topK) worse(i, j int) bool { return compareCandidates(t.heap[i], t.heap[j]) > 0 }

func (t *topK) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !t.worse(i, parent) {
			return
		}
		t.heap[i], t.heap[parent] = t.heap[parent], t.heap[i]
		i = parent
	}
}

func (t *topK) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(t.heap) {
			return
		}
		if child+1 < len(t.heap) && t.worse(child+1, child) {
			child++
		}
		if !t.worse(child, i) {
			return
		}
		t.heap[i], t.heap[child] = t.heap[child], t.heap[i]
		i = child
	}
}

// sorted returns the candidates, best first. The heap is used up.
func (t *topK) sorted() []candidate {
	slices.SortFunc(t.heap, compareCandidates)
	return t.heap
}
