package video_test

import (
	"slices"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/text"
	"videosim/shared/video"
)

func collator(t *testing.T, change func(*video.CollateConfig)) *video.Collator {
	t.Helper()
	tok, err := text.New(text.ChineseVocab(), text.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := video.CollateConfig{LateTokens: 12, EarlyTokens: 6, Frames: 4, FrameDim: 3}
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return video.NewCollator(tok, cfg)
}

func toLongest(c *video.CollateConfig) { c.PadToLongest = true }

func TestCollateShapes(t *testing.T) {
	videos := []video.Video{
		{ID: "a", Title: "红烧肉", ASRText: "大家好", Frames: halfFrames(3, 2)},
		{ID: "b", Frames: halfFrames(3, 6)},
		{ID: "c", Title: "红烧肉红烧肉红"},
	}
	for name, c := range map[string]struct {
		change                      func(*video.CollateConfig)
		late, early, frames, videos int
	}{
		"full length":          {nil, 12, 6, 4, 3},
		"longest":              {toLongest, 9, 6, 4, 3},
		"longest of the first": {toLongest, 8, 5, 2, 1},
	} {
		b, err := collator(t, c.change).Collate(videos[:c.videos])
		if err != nil {
			t.Fatal(err)
		}
		if b.Late.Len != c.late || b.Early.Len != c.early || b.FrameLen != c.frames {
			t.Errorf("%s: late %d early %d frames %d", name, b.Late.Len, b.Early.Len, b.FrameLen)
		}
		if len(b.Half) != c.videos*c.frames*3 || b.Float != nil || len(b.Late.Mask) != c.videos*c.late {
			t.Errorf("%s: %d halves, %d tokens", name, len(b.Half), len(b.Late.Mask))
		}
	}
}

func TestCollateReportsAndMasks(t *testing.T) {
	b, err := collator(t, nil).Collate([]video.Video{
		{ID: "a", Title: "红烧肉红烧", ASRText: "大家好大家好", Frames: halfFrames(3, 6)},
		{ID: "b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []video.Report{
		{Title: true, Speech: true, Frames: true, TokensCut: 1, TitleTokensCut: 0, FramesCut: 2},
		{},
	}
	if !slices.Equal(b.Reports, want) {
		t.Errorf("reports %+v", b.Reports)
	}
	if !slices.Equal(b.FrameCount, []int{4, 0}) {
		t.Errorf("frame counts %v", b.FrameCount)
	}
	if got := b.FrameMask(0); !slices.Equal(got, []int64{1, 1, 1, 1, 0, 0, 0, 0}) {
		t.Errorf("mask %v", got)
	}
	if got := b.FrameMask(1); !slices.Equal(got, []int64{1, 1, 1, 1, 1, 1, 0, 0, 0, 0}) {
		t.Errorf("mask with class token %v", got)
	}
	if slices.ContainsFunc(b.Half[12:], func(h uint16) bool { return h != 0 }) {
		t.Error("a video without frames has values")
	}
}

func TestCollateNoFramesAtAll(t *testing.T) {
	b, err := collator(t, toLongest).Collate([]video.Video{{ID: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if b.FrameLen != 1 || len(b.Half) != 3 || b.FrameCount[0] != 0 {
		t.Errorf("%d rows, %d values, count %d", b.FrameLen, len(b.Half), b.FrameCount[0])
	}
}

// One video in another encoding turns the batch to float32; values are the same.
func TestCollateEncodings(t *testing.T) {
	u8 := video.Frames{Encoding: video.U8, Dim: 3, Count: 1, Data: []byte{0, 2, 255}, Scale: 0.5, Offset: -1}
	f32 := video.Frames{Encoding: video.F32, Dim: 3, Count: 1, Data: []byte{0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64}}
	b, err := collator(t, toLongest).Collate([]video.Video{
		{ID: "a", Frames: halfFrames(3, 1)}, {ID: "b", Frames: u8}, {ID: "c", Frames: f32},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []float32{1, 2, 3, -1, 0, 126.5, 1, 2, 3}; b.Half != nil || !slices.Equal(b.Float, want) {
		t.Errorf("floats %v, want %v", b.Float, want)
	}
}

func TestCollateRefuses(t *testing.T) {
	infinite := halfFrames(3, 2)
	infinite.Data[2*4], infinite.Data[2*4+1] = 0x00, 0x7c
	nan := video.Frames{Encoding: video.F32, Dim: 3, Count: 1, Data: []byte{0, 0, 192, 127, 0, 0, 0, 0, 0, 0, 0, 0}}
	short := halfFrames(3, 2)
	short.Count = 3
	for name, c := range map[string]struct {
		frames      video.Frames
		field, says string
	}{
		"other dim":    {halfFrames(4, 2), "frames.dim", "expected 3, found 4"},
		"infinite":     {infinite, "frames.data", "frame 1"},
		"nan":          {nan, "frames.data", "frame 0"},
		"short data":   {short, "frames.data", "expected 18 bytes"},
		"bad encoding": {video.Frames{Encoding: 9, Dim: 3, Count: 1, Data: []byte{1}}, "frames.encoding", ""},
		"negative":     {video.Frames{Dim: 3, Count: -1}, "frames", "count -1"},
		"overflow":     {video.Frames{Dim: 1 << 62, Count: 1 << 62, Data: []byte{1}}, "frames", "out of range"},
	} {
		_, err := collator(t, nil).Collate([]video.Video{{ID: "fine"}, {ID: "bad-one", Frames: c.frames}})
		if errs.KindOf(err) != errs.Invalid || errs.FieldOf(err) != c.field ||
			!strings.Contains(err.Error(), "bad-one") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := collator(t, nil).Collate(nil); errs.KindOf(err) != errs.Invalid {
		t.Errorf("no videos: %v", err)
	}
}

func TestCollateConfigValidate(t *testing.T) {
	if err := (video.CollateConfig{LateTokens: 1, EarlyTokens: 1, Frames: 1}).Validate(); errs.FieldOf(err) != "frame_dim" {
		t.Errorf("error %v, want field frame_dim", err)
	}
}

func TestFramesFloat32s(t *testing.T) {
	if got := halfFrames(2, 2).Float32s(); !slices.Equal(got, []float32{1, 2, 3, 4}) {
		t.Errorf("values %v", got)
	}
}
