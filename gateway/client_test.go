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
	scores, err := c.Similarity(ctx, [2]client.Input{client.ID("v1"), client.ID("v2")}, [2]client.Input{client.ID("v1"), client.ID("nobody")})
	if err != nil || len(scores) != 2 || scores[0].Cosine == nil || scores[1].Cosine != nil {
		t.Fatalf("similarity: %+v %v", scores, err)
	}
	for s, err := range c.Pairs(ctx, strings.NewReader("v1\tv2\t0.5\n")) {
		if d := *s.Cosine - *scores[0].Cosine; err != nil || d > 1e-8 || d < -1e-8 {
			t.Errorf("the stream says %v, the call %v (%v)", *s.Cosine, *scores[0].Cosine, err)
		}
	}
	why, err := c.Explain(ctx, "v1", "v2", true)
	if err != nil || len(why.Modalities) != 3 || why.Late+why.Early+why.Cross-why.Cosine > 1e-9 {
		t.Errorf("explain: %+v %v", why, err)
	}
	if e, err := c.Evaluate(ctx, strings.NewReader("v1\tv2\t0.5\nv3\tv4\t1\nv5\tv6\t0\n")); err != nil || e.Pairs != 3 || e.Spearman == nil {
		t.Errorf("evaluate: %+v %v", e, err)
	}
	if all, err := c.Embed(ctx, client.Video{Title: "x"}); err != nil || len(all) != 1 || len(all[0]) != testDim {
		t.Errorf("embed: %v %v", all, err)
	}
	if s, err := c.Video(ctx, "v1"); err != nil || s.State != "indexed" || s.Title != "title 1" {
		t.Errorf("video: %+v %v", s, err)
	}
	if d, err := c.Delete(ctx, "v1"); err != nil || d.Sequence <= last {
		t.Errorf("delete: %+v %v", d, err)
	}
	var problem *client.Problem
	if _, err := c.Similar(ctx, client.Query{Positive: []client.Input{client.ID("nobody")}}); !errors.As(err, &problem) || problem.Status != 404 || problem.MissingIDs[0] != "nobody" {
		t.Errorf("nobody: %v", err)
	}
}
