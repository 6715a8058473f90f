package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"videosim/client"
)

// The Go client and the gateway understand each other in every call.
func TestGoClient(t *testing.T) {
	p := newPath(t, free)
	c, err := client.New(p.url)
	if err != nil {
		t.Fatal(err)
	}
	ctx, last := t.Context(), uint64(0)
	for i := range 30 {
		published, err := c.Publish(ctx, client.Video{ID: fmt.Sprintf("v%d", i), Title: fmt.Sprintf("title %d", i), CategoryID: 1, TagIDs: []int64{2}})
		if err != nil {
			t.Fatal(err)
		}
		last = published.Sequence
	}
	if err := p.bus.ServeEmbed(ctx, testModel, embedTitles); err != nil {
		t.Fatal(err)
	}
	q := client.Query{Positive: []client.Input{client.ID("v1"), {Video: &client.Video{Title: "x"}}}, K: 7, Filter: client.Filter{CategoryIDs: []int64{1}}, MinSequence: last, WaitMS: 5000}
	page, err := c.Similar(ctx, q)
	if err != nil || len(page.Results) != 7 || page.Model != testModel || page.IndexedSequence < last || len(page.Inputs) != 1 || page.NextPageToken == "" {
		t.Fatalf("similar: %+v %v", page, err)
	}
	seen := map[string]bool{}
	for r, err := range c.All(ctx, q) {
		if err != nil || seen[r.ID] {
			t.Fatalf("%s, seen before: %t, %v", r.ID, seen[r.ID], err)
		}
		seen[r.ID] = true
	}
	if len(seen) != 29 {
		t.Errorf("%d results on all pages, want 29", len(seen))
	}
	items, err := c.SimilarBatch(ctx, client.Query{Positive: []client.Input{client.ID("v1")}, K: 3, MinSequence: last, WaitMS: 5000}, client.Query{Positive: []client.Input{client.ID("nobody")}})
	if err != nil || len(items) != 2 || items[0].Page == nil || len(items[0].Page.Results) != 3 || items[0].Page.Model != testModel || items[1].Problem == nil || items[1].Problem.Status != 404 {
		t.Fatalf("batch: %+v %v", items, err)
	}
	pairs := client.PairQuery{Pairs: [][2]client.Input{{client.ID("v1"), client.ID("v2")}, {client.ID("v1"), client.ID("nobody")}}, MinSequence: last, Model: testModel}
	answer, err := c.Similarity(ctx, pairs)
	if err != nil || len(answer.Results) != 2 || answer.Results[0].Cosine == nil || answer.Results[1].Cosine != nil || answer.Model != testModel || answer.MissingIDs[0] != "nobody" {
		t.Fatalf("similarity: %+v %v", answer, err)
	}
	scores := answer.Results
	for s, err := range c.Pairs(ctx, strings.NewReader("v1\tv2\t0.5\n")) {
		if d := *s.Cosine - *scores[0].Cosine; err != nil || d > 1e-8 || d < -1e-8 {
			t.Errorf("the stream says %v, the call %v (%v)", *s.Cosine, *scores[0].Cosine, err)
		}
	}
	for s, err := range c.PairScores(ctx, strings.NewReader("v1\tv2\n")) {
		if err != nil || s.Cosine != nil || *s.Score-*scores[0].Score > 1e-8 || *s.Score-*scores[0].Score < -1e-8 {
			t.Errorf("the stream of scores says %+v, the call %v (%v)", s, *scores[0].Score, err)
		}
	}
	why, err := c.Explain(ctx, "v1", "v2", true)
	if err != nil || len(why.Modalities) != 3 || why.Late+why.Early+why.Cross-why.Cosine > 1e-9 || why.LateEarly+why.EarlyLate-why.Cross > 1e-9 {
		t.Errorf("explain: %+v %v", why, err)
	}
	if e, err := c.Evaluate(ctx, strings.NewReader("v1\tv2\t0.5\nv3\tv4\t1\nv5\tv6\t0\n")); err != nil || e.Pairs != 3 || e.Spearman == nil {
		t.Errorf("evaluate: %+v %v", e, err)
	}
	if e, err := c.EvaluatePoints(ctx, strings.NewReader("v1\tv2\t0.5\nv3\tv4\t1\n"), 10); err != nil || len(e.Points) != 2 || e.Points[0].B != "v2" || e.Points[0].Label != 0.5 {
		t.Errorf("points: %+v %v", e, err)
	}
	if all, err := c.Embed(ctx, client.Video{Title: "x"}); err != nil || len(all.Embeddings) != 1 || len(all.Embeddings[0]) != testDim || all.Inputs[0].Modalities[0] != "title" {
		t.Errorf("embed: %+v %v", all, err)
	}
	if m, err := c.Map(ctx, 20); err != nil || len(m.Points) < 3 || len(m.Points) > 20 || m.Explained[0] <= 0 {
		t.Errorf("map: %+v %v", m, err)
	}
	if s, err := c.Video(ctx, "v1"); err != nil || s.State != "indexed" || s.Title != "title 1" {
		t.Errorf("video: %+v %v", s, err)
	}
	if d, err := c.Delete(ctx, "v1"); err != nil || d.Sequence <= last {
		t.Errorf("delete: %+v %v", d, err)
	}
	edit, err := c.Publish(ctx, client.Video{ID: "v2", Title: "edited"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Await(ctx, edit); err != nil || s.State != "indexed" || s.IndexedVersion != edit.Sequence || s.Title != "edited" {
		t.Errorf("await: %+v %v", s, err)
	}
	var problem *client.Problem
	// Embeddings of another model are refused, in whatever call they are sent.
	q.Model, pairs.Model = "ba9876543210", "ba9876543210"
	_, one := c.Similar(ctx, q)
	_, batch := c.SimilarBatch(ctx, q, client.Query{Positive: q.Positive})
	_, two := c.Similarity(ctx, pairs)
	for call, err := range map[string]error{"similar": one, "batch": batch, "similarity": two} {
		if !errors.As(err, &problem) || problem.Status != 409 || problem.Field != "model" {
			t.Errorf("%s of another model: %v", call, err)
		}
	}
	q.Model, q.Positive = testModel, []client.Input{client.ID("v3")}
	if items, err := c.SimilarBatch(ctx, q, q); err != nil || items[0].Page == nil || items[1].Page == nil {
		t.Errorf("batch of this model: %+v %v", items, err)
	}
	if _, err := c.Similar(ctx, client.Query{Positive: []client.Input{client.ID("nobody")}}); !errors.As(err, &problem) || problem.Status != 404 || problem.MissingIDs[0] != "nobody" {
		t.Errorf("nobody: %v", err)
	}
}
