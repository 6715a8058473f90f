package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/video"
)

// corpus is the data of one run and who may learn from what. Videos stay in
// their files and are read when a batch needs them.
type corpus struct {
	*catalogue
	folder   *video.Folder
	split    *Split
	unknown  int      // labelled pairs left out because a video has no record
	pretrain []string // ids of the videos that the tag stages learn from
}

// openCorpus opens a data folder for training: it needs records, labels and a
// tag list.
func openCorpus(ctx context.Context, cfg TrainConfig) (*corpus, error) {
	folder, err := video.OpenFolder(cfg.Data)
	if err != nil {
		return nil, err
	}
	c := &corpus{folder: folder}
	if err := c.open(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("open data folder %s: %w", cfg.Data, err), folder.Close())
	}
	return c, nil
}

func (c *corpus) open(ctx context.Context, cfg TrainConfig) error {
	if c.folder.Tags == nil {
		return errs.New(errs.NotFound, "tag_list.txt is missing: the tag stages need it")
	}
	if c.folder.LabelsPath == "" {
		return errs.New(errs.NotFound, "label.tsv is missing: finetuning needs it")
	}
	pairs, err := readPairs(c.folder.LabelsPath)
	if err != nil {
		return err
	}
	if c.catalogue, err = newCatalogue(ctx, c.folder.Pointwise, c.folder.Pairwise); err != nil {
		return err
	}
	if c.split, err = splitPairs(c.known(pairs), cfg.HeldOut, cfg.Seed); err != nil {
		return err
	}
	return c.choosePretraining(presetSchedule(cfg.Preset).pairwise)
}

// known leaves out the pairs of videos that have no record.
func (c *corpus) known(pairs []eval.Pair) []eval.Pair {
	kept := pairs[:0]
	for _, p := range pairs {
		_, a := c.where[p.A]
		_, b := c.where[p.B]
		if a && b {
			kept = append(kept, p)
		}
	}
	c.unknown = len(pairs) - len(kept)
	return kept
}

// choosePretraining picks the videos that tag pretraining learns from. A
// held-out video is never among them, whichever file its record lies in.
func (c *corpus) choosePretraining(pairwise bool) error {
	for _, id := range c.order {
		if (c.where[id].set == c.folder.Pointwise || pairwise) && !c.split.IsHeldOut(id) {
			c.pretrain = append(c.pretrain, id)
		}
	}
	switch {
	case len(c.pretrain) < 2:
		return errs.New(errs.Invalid, "tag pretraining has %d videos, expected at least 2: add records to pointwise/*.tfrecords", len(c.pretrain))
	case c.frameDim == 0:
		return errs.New(errs.Invalid, "no video has frames")
	}
	return nil
}

func (c *corpus) Close() error { return c.folder.Close() }

// videos is how many different videos the folder has.
func (c *corpus) videos() int { return len(c.order) }

// pretrainCount is how many videos the tag stages learn from.
func (c *corpus) pretrainCount() int { return len(c.pretrain) }

// pretrainVideos reads videos that tag stages learn from, by their numbers in
// 0…pretrainCount()-1.
func (c *corpus) pretrainVideos(items []int) ([]video.Video, error) {
	return c.read(pick(c.pretrain, items))
}

// pretrainIDs names the videos of a batch in an error. A video that cannot be
// read any more is named by its number.
func (c *corpus) pretrainIDs(items []int) []string { return pick(c.pretrain, items) }

// readPairs reads a label file in which every line must carry a label.
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

// digest names the data: the first 12 hex digits of a SHA-256 over the labels,
// the tag list's length, and the size and the ids of every record file.
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
	for _, set := range []*video.Set{c.folder.Pointwise, c.folder.Pairwise} {
		for _, path := range set.Paths() {
			info, err := os.Stat(path)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(hash, "file %d\n", info.Size())
		}
	}
	for _, id := range c.order {
		fmt.Fprintf(hash, "%s\n", id)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}
