package query

import (
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"videosim/shared/errs"
)

// Plane is a set of vectors seen along the two directions in which they differ
// most (principal components).
type Plane struct {
	Places    [][2]float64 // one a vector in order, scaled together to -1 … 1
	Explained [2]float64   // share of the variance along each direction
}

// Flatten finds the plane. Fewer than three vectors have none: their places
// are the middle.
func Flatten(vectors [][]float32) (Plane, error) {
	plane := Plane{Places: make([][2]float64, len(vectors))}
	if len(vectors) < 3 {
		return plane, nil
	}
	n, dim := len(vectors), len(vectors[0])
	rows := mat.NewDense(n, dim, nil)
	for i, v := range vectors {
		for j, x := range v {
			rows.Set(i, j, float64(x))
		}
	}
	var found stat.PC
	if !found.PrincipalComponents(rows, nil) {
		return plane, errs.New(errs.Internal, "no principal components of %d vectors", n)
	}
	var directions mat.Dense
	found.VectorsTo(&directions)
	total := 0.0
	for i, variance := range found.VarsTo(nil) {
		total += variance
		if i < 2 {
			plane.Explained[i] = variance
		}
	}
	_, columns := directions.Dims()
	for axis := range min(2, columns) {
		if total > 0 {
			plane.Explained[axis] /= total
		}
		plane.project(vectors, directions.ColView(axis), axis)
	}
	plane.scale()
	return plane, nil
}

// project sets one axis of all places, from the middle of the vectors. A
// direction and its opposite are one component; the one with the larger first
// numbers is taken, so that a drawing does not flip from call to call.
func (p *Plane) project(vectors [][]float32, direction mat.Vector, axis int) {
	sum, sign := 0.0, 1.0
	for j := range direction.Len() {
		sum += direction.AtVec(j) / float64(j+1)
	}
	if sum < 0 {
		sign = -1
	}
	mean := 0.0
	for i, v := range vectors {
		for j, x := range v {
			p.Places[i][axis] += sign * float64(x) * direction.AtVec(j)
		}
		mean += p.Places[i][axis] / float64(len(vectors))
	}
	for i := range p.Places {
		p.Places[i][axis] -= mean
	}
}

func (p *Plane) scale() {
	largest := 0.0
	for _, place := range p.Places {
		largest = max(largest, math.Abs(place[0]), math.Abs(place[1]))
	}
	if largest == 0 {
		return
	}
	for i := range p.Places {
		p.Places[i][0] /= largest
		p.Places[i][1] /= largest
	}
}
