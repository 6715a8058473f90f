package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// corpus is the data of one run and who may learn from what. Videos stay in
// their files and are read when a batch needs them: the corpus holds eight
// bytes a record, the labels, and the places of the videos that they name.
type corpus struct {
	*catalogue
	folder   dataFolder
	split    *Split
	problems problems // what was wrong with the data
	unknown  int      // labelled pairs left out because a video has no usable record
}

// dataFolder is a data folder and its tags.
type dataFolder struct {
	*video.Listing
	Tags *video.TagList
}

// openCorpus opens a data folder for training: it needs records, labels and a
// tag list. What is wrong with single records and lines is in the corpus's
// problems, or with cfg.Strict the error.
func openCorpus(ctx context.Context, cfg TrainConfig) (*corpus, error) {
	listing, err := video.ListFolder(cfg.Data)
	if err != nil {
		return nil, err
	}
	c := &corpus{folder: dataFolder{Listing: listing}, problems: problems{strict: cfg.Strict}}
	if err := c.open(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("open data folder %s: %w", cfg.Data, c.problems.explain(err)), c.Close())
	}
	return c, nil
}

func (c *corpus) open(ctx context.Context, cfg TrainConfig) error {
	labels, err := c.readTexts()
	if err != nil {
		return err
	}
	if c.catalogue, err = newCatalogue(ctx, c.folder.Listing, cfg.Work, idsOf(labels), &c.problems); err != nil {
		return err
	}
	pairs, err := c.knownPairs(c.folder.LabelsPath, labels, &c.problems)
	if err != nil {
		return err
	}
	c.unknown = len(labels) - len(pairs)
	if c.split, err = splitPairs(pairs, cfg.HeldOut, cfg.Seed); err != nil {
		return err
	}
	return c.choosePretraining(presetSchedule(cfg.Preset).pairwise)
}

// readTexts reads the tag list and the labels.
func (c *corpus) readTexts() ([]labelledPair, error) {
	if c.folder.TagsPath == "" {
		return nil, missing(c.folder.Dir, "tag_list.txt", "the ids of the tags that pretraining learns, a line each")
	}
	if c.folder.LabelsPath == "" {
		return nil, missing(c.folder.Dir, "label.tsv", "judged pairs, a line each")
	}
	var err error
	c.folder.Tags, err = readTags(c.folder.TagsPath, &c.problems)
	if err != nil {
		return nil, err
	}
	if c.folder.Tags.Len() == 0 {
		return nil, errs.New(errs.Invalid, "%s: expected tag ids, a line each, found none", c.folder.TagsPath)
	}
	return readLabels(c.folder.LabelsPath, &c.problems)
}

// readTags reads a tag list and notes its wrong lines.
func readTags(path string, wrong *problems) (*video.TagList, error) {
	return video.ScanTagList(path, func(line int, err error) error {
		return wrong.note(lineProblem(path, "tag list", line, err))
	})
}

func missing(dir, name, what string) error {
	return errs.New(errs.NotFound, "%s: expected %s, found no such file", filepath.Join(dir, name), what)
}

// choosePretraining keeps the videos that tag pretraining learns from. A
// held-out video is never among them, whichever file its record lies in.
func (c *corpus) choosePretraining(pairwise bool) error {
	heldOut := make(map[int]bool)
	for id, p := range c.where {
		if c.split.IsHeldOut(id) {
			heldOut[p.record] = true
		}
	}
	c.keep(func(file, record int) bool {
		return (file < c.pointwise || pairwise) && !heldOut[record]
	})
	switch {
	case c.pretrainCount() < 2:
		return errs.New(errs.Invalid, "tag pretraining has %d videos, expected at least 2: add records to pointwise/*.tfrecords", c.pretrainCount())
	case c.frameDim == 0:
		return errs.New(errs.Invalid, "no video has frames")
	}
	return nil
}

// videos is how many different usable videos the folder has.
func (c *corpus) videos() int { return c.distinct }

// pretrainCount is how many videos the tag stages learn from.
func (c *corpus) pretrainCount() int { return len(c.spans) }

// pretrainVideos reads videos that tag stages learn from, by their numbers in
// 0…pretrainCount()-1.
func (c *corpus) pretrainVideos(items []int) ([]video.Video, error) {
	out := make([]video.Video, len(items))
	for i, item := range items {
		v, err := c.at(item)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// pretrainIDs names the videos of a batch in an error. A video that cannot be
// read any more is named by its number.
func (c *corpus) pretrainIDs(items []int) []string {
	ids := make([]string, len(items))
	for i, item := range items {
		v, err := c.at(item)
		if err != nil {
			v.ID = fmt.Sprintf("#%d", item)
		}
		ids[i] = v.ID
	}
	return ids
}

// Close closes the record files.
func (c *corpus) Close() error {
	if c.catalogue == nil {
		return nil
	}
	return c.catalogue.Close()
}

// digest names the data: the first 12 hex digits of a SHA-256 over the labels,
// the tag list's length, and the checksums of all usable records.
func (c *corpus) digest() (string, error) {
	hash := sha256.New()
	labels, err := os.Open(c.folder.LabelsPath)
	if err != nil {
		return "", err
	}
	defer labels.Close()
	if _, err := io.Copy(hash, labels); err != nil {
		return "", err
	}
	fmt.Fprintf(hash, "\ntags %d\n", c.folder.Tags.Len())
	for _, d := range c.digests {
		fmt.Fprintf(hash, "file %s\n", d)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}
