package trainer

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"

	"videosim/shared/model"
	"videosim/shared/nn"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// towerCache holds what frozen encoders made of the labelled videos, computed
// once: a file of float32 beside the checkpoints and, in memory, where every
// video's values are. At the published sizes a video takes 9 KB in late fusion
// and about 90 KB in early fusion. Safe for concurrent use.
type towerCache struct {
	file   *os.File
	at     map[string]span
	hidden int
}

// span is where the values of one video are. Late fusion's are one row, early
// fusion's a row of hidden values for each token, then for each frame.
type span struct {
	Offset int64 `json:"o"` // in values
	Values int   `json:"n"`
	Tokens int   `json:"t,omitempty"`
	Frames int   `json:"f,omitempty"`
}

// towerIndex is the file beside a finished cache. A cache without it is made
// anew.
type towerIndex struct {
	Run  string          `json:"run"`
	Rows map[string]span `json:"rows"`
}

// kept returns what of video i's row is worth keeping.
type kept func(b *video.Batch, i int, row []float32) ([]float32, span)

// wholeRows keeps everything.
func wholeRows(_ *video.Batch, _ int, row []float32) ([]float32, span) {
	return row, span{Values: len(row)}
}

// realPositions keeps the states of real tokens and real frames of a row that
// has hidden values a position.
func realPositions(hidden int) kept {
	return func(b *video.Batch, i int, row []float32) ([]float32, span) {
		tokens := 0
		for _, m := range b.Early.Mask[i*b.Early.Len:][:b.Early.Len] {
			tokens += int(m)
		}
		text := row[:tokens*hidden]
		frames := row[b.Early.Len*hidden:][:b.FrameCount[i]*hidden]
		return slices.Concat(text, frames), span{Values: len(text) + len(frames), Tokens: tokens, Frames: b.FrameCount[i]}
	}
}

// cacheTowers computes f, the frozen encoders, for every video of a pair, or
// opens the file that the interrupted run has made. Every process makes its
// own.
func (r *run) cacheTowers(ctx context.Context, name string, p *nn.Params, f func(s *torch.Scope, b *video.Batch) torch.Tensor, keep kept) (*towerCache, error) {
	path := r.checkpoints.path(fmt.Sprintf("%s-%d", name, r.world.rank()))
	c := &towerCache{hidden: r.model.Text.Hidden}
	if found, err := c.reopen(path, r.checkpoints.run); found || err != nil {
		return c, err
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("cache the towers: %w", err)
	}
	c.file, c.at = file, make(map[string]span)
	if err := c.fill(ctx, r, p, f, keep); err != nil {
		return nil, errors.Join(fmt.Errorf("cache the towers: %w", err), c.Close())
	}
	data, err := json.Marshal(towerIndex{r.checkpoints.run, c.at})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := writeFile(path+".index", bytesOf(data)); err != nil {
		return nil, errors.Join(fmt.Errorf("cache the towers: %w", err), c.Close())
	}
	return c, nil
}

func (c *towerCache) reopen(path, run string) (found bool, err error) {
	data, err := os.ReadFile(path + ".index")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var index towerIndex
	if err := json.Unmarshal(data, &index); err != nil || index.Run != run {
		return false, nil
	}
	c.at = index.Rows
	c.file, err = os.Open(path)
	return err == nil, err
}

func (c *towerCache) fill(ctx context.Context, r *run, p *nn.Params, f func(s *torch.Scope, b *video.Batch) torch.Tensor, keep kept) error {
	ids := append(pairIDs(r.corpus.split.Train), pairIDs(r.corpus.split.HeldOut)...)
	w := bufio.NewWriterSize(c.file, 1<<20)
	offset := int64(0)
	err := eachBatch(ctx, r, ids, p, r.collate, func(s *torch.Scope, b *video.Batch) error {
		for i, row := range rowsOfTensor(f(s, b)) {
			values, at := keep(b, i, row)
			at.Offset = offset
			c.at[b.IDs[i]] = at
			offset += int64(len(values))
			if err := binary.Write(w, binary.LittleEndian, values); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(w.Flush(), c.file.Sync())
}

// Close closes the file, which stays for a resumed run.
func (c *towerCache) Close() error { return c.file.Close() }

// read returns the values of one video.
func (c *towerCache) read(id string) ([]float32, span, error) {
	at := c.at[id]
	raw := make([]byte, 4*at.Values)
	if _, err := c.file.ReadAt(raw, 4*at.Offset); err != nil {
		return nil, at, fmt.Errorf("video %q: read the cached towers: %w", id, err)
	}
	values := make([]float32, at.Values)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return values, at, nil
}

// towerRows are the outputs of late fusion's towers for some videos.
type towerRows struct {
	values []float32 // videos × (H+D), text before video
	videos int
}

func (c *towerCache) rows(ids []string) (towerRows, error) {
	x := towerRows{videos: len(ids)}
	for _, id := range ids {
		values, _, err := c.read(id)
		if err != nil {
			return x, err
		}
		x.values = append(x.values, values...)
	}
	return x, nil
}

func (x towerRows) tensor(s *torch.Scope, device torch.Device) torch.Tensor {
	n := int64(x.videos)
	return torch.To(s, torch.FromFloat32s(s, x.values, n, int64(len(x.values))/n), torch.Float32, device)
}

// towerStates are the outputs of early fusion's towers for B videos, padded to
// the longest: (B,T,H) and (B,F,H), with the masks of what is real.
type towerStates struct {
	text, frames          []float32
	textMask, frameMask   []int64
	videos, tokens, count int
	hidden                int
}

func (c *towerCache) states(ids []string) (towerStates, error) {
	x := towerStates{videos: len(ids), count: 1, hidden: c.hidden} // no tensor without elements
	for _, id := range ids {
		x.tokens, x.count = max(x.tokens, c.at[id].Tokens), max(x.count, c.at[id].Frames)
	}
	x.text, x.textMask = make([]float32, x.videos*x.tokens*x.hidden), make([]int64, x.videos*x.tokens)
	x.frames, x.frameMask = make([]float32, x.videos*x.count*x.hidden), make([]int64, x.videos*x.count)
	for i, id := range ids {
		values, at, err := c.read(id)
		if err != nil {
			return x, err
		}
		split := at.Tokens * x.hidden
		copy(x.text[i*x.tokens*x.hidden:], values[:split])
		copy(x.frames[i*x.count*x.hidden:], values[split:])
		ones(x.textMask[i*x.tokens:], at.Tokens)
		ones(x.frameMask[i*x.count:], at.Frames)
	}
	return x, nil
}

func ones(mask []int64, n int) {
	for i := range n {
		mask[i] = 1
	}
}

// inputs are what the cross-modal encoder reads: of the inputs the masks, the
// types and the shapes.
func (x towerStates) inputs(s *torch.Scope, device torch.Device) (*model.Inputs, model.EarlyTowers) {
	b, t, f, h := int64(x.videos), int64(x.tokens), int64(x.count), int64(x.hidden)
	states := func(values []float32, n int64) torch.Tensor {
		return torch.To(s, torch.FromFloat32s(s, values, b, n, h), torch.Float32, device)
	}
	table := func(values []int64, n int64) torch.Tensor {
		return torch.To(s, torch.FromInt64s(s, values, b, n), torch.Int64, device)
	}
	towers := model.EarlyTowers{Text: states(x.text, t), Frames: states(x.frames, f)}
	in := &model.Inputs{
		Early:     model.Text{Types: torch.Zeros(s, torch.Int64, device, b, t), Mask: table(x.textMask, t)},
		Frames:    towers.Frames,
		FrameMask: table(x.frameMask, f),
	}
	return in, towers
}
