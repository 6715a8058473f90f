package gateway

import (
	"fmt"
	"testing"

	"videosim/shared/eval"
	"videosim/shared/event"
)

// store puts n embeddings into the stream, as an embedder does.
func (r *rig) store(n int) {
	r.t.Helper()
	for i := range n {
		title := fmt.Sprintf("title %d", i)
		late, early := halvesOf(title)
		_, err := r.bus.StoreEmbedding(r.t.Context(), &event.Embedding{
			Id: fmt.Sprintf("v%d", i), Fingerprint: testModel, Sequence: uint64(i + 1), Title: title, CategoryId: int64(i % 3),
			Embedding: vectorOf(title), Late: late, Early: early, Input: &event.InputReport{Title: true},
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestMap(t *testing.T) {
	r := newRig(t)
	if got := r.call("GET", "/v1/map", "").want(200); len(got.value["points"].([]any)) != 0 {
		t.Errorf("an empty index: %s", got.body)
	}
	r.fill(60)
	r.store(60)
	got := r.call("GET", "/v1/map?sample=100", "").want(200)
	points := got.value["points"].([]any)
	if len(points) != 60 {
		t.Fatalf("%d points, want 60", len(points))
	}
	edge := 0.0
	for _, p := range points {
		point := p.(map[string]any)
		edge = max(edge, point["x"].(float64), -point["x"].(float64), point["y"].(float64), -point["y"].(float64))
	}
	if edge < 0.999 || edge > 1.001 {
		t.Errorf("the farthest point is at %v, want 1", edge)
	}
	share := got.value["explained"].([]any)
	if x, y := share[0].(float64), share[1].(float64); !(x >= y && y > 0 && x+y <= 1) {
		t.Errorf("explained %v", share)
	}
	r.store(61)
	if again := r.call("GET", "/v1/map?sample=100", "").want(200); string(again.body) != string(got.body) {
		t.Error("a second look within seconds is a new drawing")
	}
	if other := r.call("GET", "/v1/map?sample=30", "").want(200); len(other.value["points"].([]any)) > 30 {
		t.Errorf("%d points, want 30 at most", len(other.value["points"].([]any)))
	}
	for _, query := range []string{"sample=2", "sample=2001", "sample=x"} {
		r.call("GET", "/v1/map?"+query, "").problem(400, "invalid", "sample")
	}
	r.call("GET", "/v1/map?n=3", "").problem(400, "invalid", "n")
}

func TestEvaluationPoints(t *testing.T) {
	r := newRig(t)
	r.fill(50)
	text, pairs := labels(3000, 50)
	got := r.call("POST", "/v1/evaluations?points=200", text+"v1\tv2\n", "Content-Type", tsv).want(200)
	points := got.value["points"].([]any)
	if len(points) < 150 || len(points) > 200 {
		t.Fatalf("%d points of %d pairs, want nearly 200", len(points), len(pairs))
	}
	for _, p := range points {
		point := p.(map[string]any)
		a, _ := r.lookup(point["a"].(string))
		b, ok := r.lookup(point["b"].(string))
		if !ok || point["cosine"].(float64) != eval.Cosine(a, b) || point["score"] == nil {
			t.Fatalf("point %v", point)
		}
	}
	if plain := r.call("POST", "/v1/evaluations", text, "Content-Type", tsv).want(200); plain.value["points"] != nil || plain.value["spearman"] != got.value["spearman"] {
		t.Errorf("points change the answer: %s", plain.body)
	}
	r.call("POST", "/v1/evaluations?points=5000", text, "Content-Type", tsv).problem(400, "invalid", "points")
}
