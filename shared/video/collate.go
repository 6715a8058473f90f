package video

import (
	"fmt"

	"videosim/shared/errs"
	"videosim/shared/text"
)

// CollateConfig sets the shapes of a batch. All come from a model's config.
type CollateConfig struct {
	LateTokens  int // most tokens of title and speech text, late fusion
	EarlyTokens int // most tokens of the title, early fusion
	Frames      int // most frames a video; later ones are cut
	FrameDim    int // values a frame
	// PadToLongest makes a batch only as long as its longest row. Off, every
	// batch has the full lengths above, as the reference's always had.
	PadToLongest bool
}

// Validate says what is wrong with c, as Invalid with the field.
func (c CollateConfig) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"late_tokens", c.LateTokens}, {"early_tokens", c.EarlyTokens},
		{"frames", c.Frames}, {"frame_dim", c.FrameDim},
	} {
		if f.value < 1 {
			return errs.Field(f.name, "expected at least 1, found %d", f.value)
		}
	}
	return nil
}

// Tokens are B rows of Len, row-major.
type Tokens struct {
	Len              int
	IDs, Types, Mask []int64
}

// Report says what became of one video on its way into the batch.
type Report struct {
	Title, Speech, Frames bool // whether the video had any
	TokensCut             int  // that did not fit late fusion, [SEP] included
	TitleTokensCut        int  // of the title, that did not fit early fusion
	FramesCut             int
}

// Batch is the input of both models for B videos.
type Batch struct {
	IDs         []string
	Late, Early Tokens
	FrameLen    int // rows a video, padding included; at least 1
	FrameDim    int
	// The frames, B×FrameLen×FrameDim, zeros in the padding: bits of float16,
	// or Float where any video of the batch came in another encoding.
	Half       []uint16
	Float      []float32
	FrameCount []int // real frames a video
	Reports    []Report
}

// Len is the number of videos, B.
func (b *Batch) Len() int { return len(b.IDs) }

// FrameMask writes B×(lead+FrameLen) values: lead ones (a class token), a one a
// real frame, zeros.
func (b *Batch) FrameMask(lead int) []int64 {
	width := lead + b.FrameLen
	mask := make([]int64, b.Len()*width)
	for i, n := range b.FrameCount {
		row := mask[i*width:]
		for j := range lead + n {
			row[j] = 1
		}
	}
	return mask
}

// Collator builds batches. It is safe for concurrent use.
type Collator struct {
	tok *text.Tokenizer
	cfg CollateConfig
}

// NewCollator takes a config that passed Validate.
func NewCollator(tok *text.Tokenizer, cfg CollateConfig) *Collator {
	return &Collator{tok: tok, cfg: cfg}
}

// Config is what the collator was made with.
func (c *Collator) Config() CollateConfig { return c.cfg }

// Collate makes one batch of videos, in their order. The first video that
// cannot be used fails the batch with an Invalid error that names it; Frames.Check
// tells sizes beforehand.
func (c *Collator) Collate(videos []Video) (*Batch, error) {
	if len(videos) == 0 {
		return nil, errs.New(errs.Invalid, "collate: no videos")
	}
	b := &Batch{
		IDs:        make([]string, len(videos)),
		FrameCount: make([]int, len(videos)),
		FrameDim:   c.cfg.FrameDim,
		Reports:    make([]Report, len(videos)),
	}
	for i, v := range videos {
		if err := v.Frames.Check(c.cfg.FrameDim); err != nil {
			return nil, fmt.Errorf("video %q: %w", v.ID, err)
		}
		b.IDs[i] = v.ID
		b.FrameCount[i] = min(v.Frames.Count, c.cfg.Frames)
		b.Reports[i] = Report{
			Title: v.Title != "", Speech: v.ASRText != "", Frames: v.Frames.Count > 0,
			FramesCut: v.Frames.Count - b.FrameCount[i],
		}
	}
	c.tokens(b, videos)
	if err := c.frames(b, videos); err != nil {
		return nil, err
	}
	return b, nil
}

func (c *Collator) tokens(b *Batch, videos []Video) {
	late := make([]text.Encoding, len(videos))
	early := make([]text.Encoding, len(videos))
	for i, v := range videos {
		late[i] = c.tok.Pair(v.Title, v.ASRText, true, c.cfg.LateTokens)
		early[i] = c.tok.Pair(v.Title, "", false, c.cfg.EarlyTokens)
		b.Reports[i].TokensCut = late[i].Cut
		b.Reports[i].TitleTokensCut = early[i].FirstCut
	}
	b.Late = c.pad(late, c.cfg.LateTokens)
	b.Early = c.pad(early, c.cfg.EarlyTokens)
}

func (c *Collator) pad(rows []text.Encoding, full int) Tokens {
	if c.cfg.PadToLongest {
		full = 0
		for _, e := range rows {
			full = max(full, len(e.IDs))
		}
	}
	n := len(rows) * full
	t := Tokens{Len: full, IDs: make([]int64, n), Types: make([]int64, n), Mask: make([]int64, n)}
	for i, e := range rows {
		from, to := i*full, (i+1)*full
		e.Put(t.IDs[from:to], t.Types[from:to], t.Mask[from:to])
	}
	return t
}

func (c *Collator) frames(b *Batch, videos []Video) error {
	b.FrameLen = c.cfg.Frames
	if c.cfg.PadToLongest {
		b.FrameLen = 1 // no tensor without elements, even where no video has frames
		for _, n := range b.FrameCount {
			b.FrameLen = max(b.FrameLen, n)
		}
	}
	allHalf := true
	for _, v := range videos {
		allHalf = allHalf && (v.Frames.Count == 0 || v.Frames.Encoding == F16)
	}
	stride := b.FrameLen * b.FrameDim
	if allHalf {
		b.Half = make([]uint16, len(videos)*stride)
	} else {
		b.Float = make([]float32, len(videos)*stride)
	}
	for i, v := range videos {
		from, n := i*stride, b.FrameCount[i]*b.FrameDim
		var err error
		if allHalf {
			err = v.Frames.half(v.ID, b.Half[from:from+n])
		} else {
			err = v.Frames.float(v.ID, b.Float[from:from+n])
		}
		if err != nil {
			return err
		}
	}
	return nil
}
