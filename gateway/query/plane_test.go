package query

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Vectors spread along two known directions are found along them.
func TestFlatten(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	const n, dim = 400, 32
	vectors, far := make([][]float32, n), 0
	for i := range vectors {
		vectors[i] = make([]float32, dim)
		for j := range vectors[i] {
			vectors[i][j] = 1 + 0.01*float32(rng.NormFloat64())
		}
		vectors[i][3] += 3 * float32(rng.NormFloat64())
		vectors[i][9] += float32(rng.NormFloat64())
		if math.Abs(float64(vectors[i][3]-1)) > math.Abs(float64(vectors[far][3]-1)) {
			far = i
		}
	}
	plane, err := Flatten(vectors)
	if err != nil {
		t.Fatal(err)
	}
	if x := plane.Explained[0]; x < 0.85 || x > 0.95 {
		t.Errorf("x explains %v, want about 0.9", x)
	}
	if y := plane.Explained[1]; y < 0.05 || y > 0.15 {
		t.Errorf("y explains %v, want about 0.1", y)
	}
	if got := math.Abs(plane.Places[far][0]); math.Abs(got-1) > 1e-9 {
		t.Errorf("the farthest vector is at %v, want ±1", got)
	}
	ratio := plane.Places[far][0] / float64(vectors[far][3]-1)
	for i, place := range plane.Places {
		if want := float64(vectors[i][3]-1) * ratio; math.Abs(place[0]-want) > 0.05 {
			t.Fatalf("vector %d is at %v, want %v", i, place[0], want)
		}
	}
}

func TestFlattenFew(t *testing.T) {
	same := []float32{1, 0, 0}
	for _, vectors := range [][][]float32{nil, {same}, {same, same}, {same, same, same}, {same, {0, 1, 0}, {0, 0, 1}}} {
		plane, err := Flatten(vectors)
		if err != nil || len(plane.Places) != len(vectors) {
			t.Fatalf("%d vectors: %v, %v", len(vectors), plane, err)
		}
		for _, place := range plane.Places {
			if math.IsNaN(place[0]) || math.IsNaN(place[1]) || math.Abs(place[0]) > 1 || math.Abs(place[1]) > 1 {
				t.Errorf("%d vectors: place %v", len(vectors), place)
			}
		}
	}
}
