package embedder

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/x448/float16"

	"videosim/shared/text"
	"videosim/shared/video"
)

const testFrameDim = 8

func testCollator(t *testing.T, padToLongest bool) *video.Collator {
	t.Helper()
	tokenizer, err := text.New(text.ChineseVocab(), text.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return video.NewCollator(tokenizer, video.CollateConfig{
		LateTokens: 16, EarlyTokens: 8, Frames: 8, FrameDim: testFrameDim, PadToLongest: padToLongest,
	})
}

func halfFrames(count int) video.Frames {
	f := video.Frames{Encoding: video.F16, Dim: testFrameDim, Count: count}
	for i := range count * testFrameDim {
		f.Data = binary.LittleEndian.AppendUint16(f.Data, float16.Fromfloat32(float32(i)/4-3).Bits())
	}
	return f
}

func floatFrames(count int) video.Frames {
	f := video.Frames{Encoding: video.F32, Dim: testFrameDim, Count: count}
	for i := range count * testFrameDim {
		f.Data = binary.LittleEndian.AppendUint32(f.Data, math.Float32bits(float32(i)/3))
	}
	return f
}

// Rows collated alone and joined are the batch that the collator makes of all.
func TestMergeEqualsCollate(t *testing.T) {
	half := []video.Video{
		{ID: "a", Title: "短", Frames: halfFrames(3)},
		{ID: "b", Title: strings.Repeat("长标题", 9), ASRText: "说的话", Frames: halfFrames(11)},
		{ID: "c"},
		{ID: "d", Title: "hello world", Frames: halfFrames(8)},
	}
	mixed := append(slices.Clone(half), video.Video{ID: "e", Title: "浮点", Frames: floatFrames(2)})
	for name, videos := range map[string][]video.Video{"half": half, "mixed": mixed, "one": half[:1]} {
		for _, padToLongest := range []bool{false, true} {
			c := testCollator(t, padToLongest)
			want, err := c.Collate(videos)
			if err != nil {
				t.Fatal(err)
			}
			rows := make([]*video.Batch, len(videos))
			for i, v := range videos {
				if rows[i], err = c.Collate([]video.Video{v}); err != nil {
					t.Fatal(err)
				}
			}
			compareBatches(t, name, mergeRows(rows), want)
		}
	}
}

func compareBatches(t *testing.T, name string, got, want *video.Batch) {
	t.Helper()
	equal := slices.Equal(got.IDs, want.IDs) &&
		got.FrameLen == want.FrameLen && got.FrameDim == want.FrameDim &&
		slices.Equal(got.FrameCount, want.FrameCount) && slices.Equal(got.Reports, want.Reports) &&
		slices.Equal(got.Half, want.Half) && slices.Equal(got.Float, want.Float)
	for _, pair := range [][2]video.Tokens{{got.Late, want.Late}, {got.Early, want.Early}} {
		equal = equal && pair[0].Len == pair[1].Len && slices.Equal(pair[0].IDs, pair[1].IDs) &&
			slices.Equal(pair[0].Types, pair[1].Types) && slices.Equal(pair[0].Mask, pair[1].Mask)
	}
	if !equal {
		t.Errorf("%s: joined rows differ from the collated batch:\n got %+v\nwant %+v", name, got, want)
	}
}
