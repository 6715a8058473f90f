package trainer

import (
	"context"

	"videosim/shared/video"
)

// catalogue says where in its files every video of a data folder lies.
type catalogue struct {
	order    []string          // ids, files in order, each once
	where    map[string]record // of several records with one id the last counts
	frameDim int               // of the first video that has frames; 0 if none has
}

// record is one video in a file.
type record struct {
	set   *video.Set
	index int
}

func (r record) read() (video.Video, error) { return r.set.Video(r.index) }

// newCatalogue reads through sets once. A record that cannot be parsed fails it.
func newCatalogue(ctx context.Context, sets ...*video.Set) (*catalogue, error) {
	c := &catalogue{where: make(map[string]record)}
	for _, set := range sets {
		for i := range set.Len() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			v, err := set.Video(i)
			if err != nil {
				return nil, err
			}
			c.add(v, record{set, i})
		}
	}
	return c, nil
}

func (c *catalogue) add(v video.Video, r record) {
	if _, again := c.where[v.ID]; !again {
		c.order = append(c.order, v.ID)
	}
	c.where[v.ID] = r
	if c.frameDim == 0 && v.Frames.Count > 0 {
		c.frameDim = v.Frames.Dim
	}
}

// read returns the videos of ids, which must be in the catalogue.
func (c *catalogue) read(ids []string) ([]video.Video, error) {
	out := make([]video.Video, len(ids))
	for i, id := range ids {
		v, err := c.where[id].read()
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}
