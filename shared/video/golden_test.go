package video_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/x448/float16"

	"videosim/shared/testkit"
	"videosim/shared/text"
	"videosim/shared/video"
)

// goldenVideo is one record as the reference's reader saw it.
type goldenVideo struct {
	ID         string
	TagID      []int64 `json:"tag_id"`
	CategoryID []int64 `json:"category_id"`
	Title      string
	ASRText    string `json:"asr_text"`
	NumFrames  int    `json:"num_frames"`
	TagColumns []int  `json:"tag_columns"`

	Model1IDs   []int64 `json:"model1_input_ids"`
	Model1Types []int64 `json:"model1_token_type_ids"`
	Model1Mask  []int64 `json:"model1_attention_mask"`
	Model2IDs   []int64 `json:"model2_input_ids"`
	Model2Types []int64 `json:"model2_token_type_ids"`
	Model2Mask  []int64 `json:"model2_attention_mask"`
}

func (want goldenVideo) checkFields(t *testing.T, got video.Video) {
	t.Helper()
	if got.ID != want.ID || got.Title != want.Title || got.ASRText != want.ASRText {
		t.Errorf("texts: got %q %q %q, want %q %q %q", got.ID, got.Title, got.ASRText, want.ID, want.Title, want.ASRText)
	}
	if !slices.Equal(got.TagIDs, want.TagID) {
		t.Errorf("%s: tags %v, want %v", want.ID, got.TagIDs, want.TagID)
	}
	if len(want.CategoryID) > 0 && got.CategoryID != want.CategoryID[0] {
		t.Errorf("%s: category %d, want %d", want.ID, got.CategoryID, want.CategoryID[0])
	}
	if got.Frames.Count != want.NumFrames {
		t.Errorf("%s: %d frames, want %d", want.ID, got.Frames.Count, want.NumFrames)
	}
}

func goldenTokenizer(t *testing.T) *text.Tokenizer {
	t.Helper()
	tok, err := text.New(testkit.GoldenFile(t, "vocab.txt"), text.Options{LiteralSpecialTokens: text.LiteralIDs})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func openGolden(t *testing.T, name string, records int) *video.Indexed {
	t.Helper()
	x, err := video.OpenIndexed(filepath.Join(testkit.GoldenDir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	if x.Len() != records {
		t.Fatalf("%s: %d records, want %d", name, x.Len(), records)
	}
	return x
}

// Fields, tag columns, offsets and raw frames of every record, also of those
// that the reference itself cannot use.
func TestGoldenTFRecord(t *testing.T) {
	var expected struct {
		Records      []goldenVideo
		IndexOffsets []int64 `json:"index_offsets"`
	}
	testkit.GoldenJSON(t, "tfrecord/expected.json", &expected)
	tensors := testkit.Fixture(t, "tfrecord/expected.safetensors")
	tags, err := video.ReadTagList(filepath.Join(testkit.GoldenDir(t), "tag_list.txt"))
	if err != nil {
		t.Fatal(err)
	}
	x := openGolden(t, "tfrecord/tiny.tfrecords", len(expected.Records))
	for i, want := range expected.Records {
		if x.Offset(i) != expected.IndexOffsets[i] {
			t.Errorf("record %d at byte %d, want %d", i, x.Offset(i), expected.IndexOffsets[i])
		}
		got, err := x.Video(i)
		if err != nil {
			t.Fatal(err)
		}
		want.checkFields(t, got)
		if columns := tags.Columns(got.TagIDs); !slices.Equal(columns, want.TagColumns) {
			t.Errorf("%s: tag columns %v, want %v", want.ID, columns, want.TagColumns)
		}
		raw := tensors.Of(t, fmt.Sprintf("record%d.frames_raw", i))
		if !slices.Equal(raw.Shape, []int64{int64(got.Frames.Count), int64(got.Frames.Dim)}) ||
			!slices.Equal(raw.Bytes(), got.Frames.Data) {
			t.Errorf("%s: raw frames differ from the fixture's %v", want.ID, raw.Shape)
		}
		again, err := video.AppendExample(nil, got)
		if err != nil {
			t.Fatal(err)
		}
		back, err := video.ParseExample(again)
		if err != nil {
			t.Fatal(err)
		}
		want.checkFields(t, back)
	}
}

// Token rows, padded frames and both masks, collated in one batch and alone.
func TestGoldenCollate(t *testing.T) {
	var expected struct{ Records []goldenVideo }
	testkit.GoldenJSON(t, "tfrecord/expected.json", &expected)
	tensors := testkit.Fixture(t, "tfrecord/expected.safetensors")
	x := openGolden(t, "tfrecord/tiny.tfrecords", len(expected.Records))
	var videos []video.Video
	for i := range expected.Records {
		v, err := x.Video(i)
		if err != nil {
			t.Fatal(err)
		}
		videos = append(videos, v)
	}
	c := video.NewCollator(goldenTokenizer(t), goldenCollation(t, expected.Records, tensors))
	together, err := c.Collate(videos)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range expected.Records {
		alone, err := c.Collate(videos[i : i+1])
		if err != nil {
			t.Fatal(err)
		}
		want.checkTokens(t, together, i)
		want.checkTokens(t, alone, 0)
		if cut := max(0, want.NumFrames-together.FrameLen); together.Reports[i].FramesCut != cut {
			t.Errorf("%s: %d frames cut, want %d", want.ID, together.Reports[i].FramesCut, cut)
		}
		if _, ok := tensors[fmt.Sprintf("record%d.frames", i)]; ok {
			checkFrames(t, tensors, i, together, i)
			checkFrames(t, tensors, i, alone, 0)
		}
	}
}

// goldenCollation takes every size from the fixtures.
func goldenCollation(t *testing.T, records []goldenVideo, tensors testkit.Tensors) video.CollateConfig {
	t.Helper()
	for i, r := range records {
		if x, ok := tensors[fmt.Sprintf("record%d.frames", i)]; ok {
			return video.CollateConfig{
				LateTokens: len(r.Model1IDs), EarlyTokens: len(r.Model2IDs),
				Frames: int(x.Shape[0]), FrameDim: int(x.Shape[1]),
			}
		}
	}
	t.Fatal("the fixtures hold no padded frames")
	return video.CollateConfig{}
}

func (want goldenVideo) checkTokens(t *testing.T, b *video.Batch, row int) {
	t.Helper()
	for _, c := range []struct {
		what            string
		got             video.Tokens
		ids, types, msk []int64
	}{
		{"late", b.Late, want.Model1IDs, want.Model1Types, want.Model1Mask},
		{"early", b.Early, want.Model2IDs, want.Model2Types, want.Model2Mask},
	} {
		from, to := row*c.got.Len, (row+1)*c.got.Len
		if !slices.Equal(c.got.IDs[from:to], c.ids) || !slices.Equal(c.got.Types[from:to], c.types) ||
			!slices.Equal(c.got.Mask[from:to], c.msk) {
			t.Errorf("%s: %s tokens differ: %v", want.ID, c.what, c.got.IDs[from:to])
		}
	}
}

func checkFrames(t *testing.T, tensors testkit.Tensors, record int, b *video.Batch, row int) {
	t.Helper()
	name := func(what string) string { return fmt.Sprintf("record%d.%s", record, what) }
	want := tensors.Of(t, name("frames")).Float32s()
	n := b.FrameLen * b.FrameDim
	if len(want) != n {
		t.Fatalf("%s: %d values, want %d", name("frames"), n, len(want))
	}
	for i, bits := range b.Half[row*n : (row+1)*n] {
		if got := float16.Frombits(bits).Float32(); got != want[i] { // -0 equals 0
			t.Fatalf("%s: value %d is %v, want %v", name("frames"), i, got, want[i])
		}
	}
	for lead, what := range []string{"frame_mask_model2", "frame_mask_model1"} {
		width := lead + b.FrameLen
		got := b.FrameMask(lead)[row*width : (row+1)*width]
		if !slices.Equal(got, tensors.Of(t, name(what)).Int64s()) {
			t.Errorf("%s: %v", name(what), got)
		}
	}
}

func TestGoldenE2ERecords(t *testing.T) {
	var want []goldenVideo
	if err := json.Unmarshal(testkit.GoldenFile(t, "e2e/records.json"), &want); err != nil {
		t.Fatal(err)
	}
	x := openGolden(t, "e2e/e2e.tfrecords", len(want))
	for i := range want {
		got, err := x.Video(i)
		if err != nil {
			t.Fatal(err)
		}
		want[i].checkFields(t, got)
	}
}
