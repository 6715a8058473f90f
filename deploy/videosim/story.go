package videosim

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"google.golang.org/protobuf/encoding/protojson"

	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/video"
)

const (
	sampleVideos = 3
	samplePairs  = 5
	neighbours   = 10
)

// samples are a few videos spread over a folder's records, with a title to show.
func samples(f *video.Folder) ([]video.Video, error) {
	set := f.Pairwise
	if set.Len() == 0 {
		set = f.Pointwise
	}
	var found []video.Video
	for i := 0; i < set.Len() && len(found) < sampleVideos; i++ {
		v, err := set.Video((i * 997) % set.Len()) // a stride that spreads them
		if err != nil {
			return nil, err
		}
		if v.Title != "" || set.Len() <= sampleVideos {
			found = append(found, v)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("expected a video with a title among %d, found none", set.Len())
	}
	return found, nil
}

// ask shows the two questions: which are alike, and how alike are two.
func (d *demo) ask(ctx context.Context, c *client) error {
	d.step(5, "Queries")
	for _, v := range d.samples {
		a, err := c.similarByID(ctx, v.ID, neighbours)
		if err != nil {
			return err
		}
		d.say("\nMost like %s  %s  (by id, model %s)", v.ID, v.Title, a.Model)
		d.list(a)
	}
	v := d.samples[0]
	v.ID = "not-published"
	content, err := protojson.Marshal(event.FromVideo(v))
	if err != nil {
		return err
	}
	a, err := c.similarTo(ctx, json.RawMessage(content), neighbours)
	if err != nil {
		return err
	}
	d.say("\nMost like the content of %s, embedded on the fly", d.samples[0].ID)
	d.list(a)
	return d.scorePairs(ctx, c)
}

func (d *demo) list(a answer) {
	for i, r := range a.Results {
		d.say("  %2d  %.3f  cosine %+.3f  %s  %s", i+1, r.Score, r.Cosine, r.ID, r.Title)
	}
}

// scorePairs shows a few pairs with what people said, where there are labels.
func (d *demo) scorePairs(ctx context.Context, c *client) error {
	labels, err := d.labels()
	if err != nil || len(labels) == 0 {
		return err
	}
	labels = spread(labels, samplePairs)
	pairs := make([][2]string, len(labels))
	for i, p := range labels {
		pairs[i] = [2]string{p.A, p.B}
	}
	scores, err := c.similarity(ctx, pairs)
	if err != nil {
		return err
	}
	d.say("\nPairs: what people said, what the suite says")
	for i, p := range labels {
		if scores[i].Score == nil {
			d.say("  %s  %s  judged %.2f  not in the index", p.A, p.B, p.Label)
			continue
		}
		d.say("  %s  %s  judged %.2f  score %.2f", p.A, p.B, p.Label, *scores[i].Score)
	}
	return nil
}

// spread takes n of all, evenly.
func spread(all []eval.Pair, n int) []eval.Pair {
	if len(all) <= n {
		return all
	}
	some := make([]eval.Pair, n)
	for i := range some {
		some[i] = all[i*len(all)/n]
	}
	return some
}

// labelsPath is the file to evaluate on: the held-out pairs where this demo
// trained, else the folder's; "" where there is none.
func (d *demo) labelsPath() (string, error) {
	if d.heldOut != "" {
		return d.heldOut, nil
	}
	folder, err := video.OpenFolder(d.data)
	if err != nil {
		return "", err
	}
	return folder.LabelsPath, folder.Close()
}

func (d *demo) labels() ([]eval.Pair, error) {
	path, err := d.labelsPath()
	if err != nil || path == "" {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return eval.ReadPairs(f, eval.PairLimits{NeedLabel: true})
}

// evaluate posts the labels as they are and prints the agreement.
func (d *demo) evaluate(ctx context.Context, c *client) error {
	path, err := d.labelsPath()
	if err != nil {
		return err
	}
	if path == "" {
		d.step(6, "Evaluation: the data folder has no label.tsv")
		return nil
	}
	d.step(6, "Evaluation of %s", path)
	e, err := c.evaluate(ctx, path)
	if err != nil {
		return err
	}
	d.say("%s", e)
	return nil
}

// String is the line that trainer evaluate ends with.
func (e evaluation) String() string {
	if e.Spearman == nil {
		return fmt.Sprintf("spearman=nan pairs=%d missing=%d", e.Pairs, e.Missing)
	}
	return fmt.Sprintf("spearman=%.4f pairs=%d missing=%d", *e.Spearman, e.Pairs, e.Missing)
}
