package video_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"videosim/shared/errs"
	"videosim/shared/text"
	"videosim/shared/video"
)

func plainVideo() video.Video {
	return video.Video{
		ID: "v1", Title: "红烧肉", ASRText: "大家好", CategoryID: 11604,
		TagIDs: []int64{5, 3_000_000_000, -1}, Frames: halfFrames(4, 3),
	}
}

func TestExampleRoundTrip(t *testing.T) {
	for name, change := range map[string]func(*video.Video){
		"all fields": func(*video.Video) {},
		"only an id": func(v *video.Video) { *v = video.Video{ID: "x"} },
		"no frames":  func(v *video.Video) { v.Frames = video.Frames{} },
		"no tags":    func(v *video.Video) { v.TagIDs = nil },
		"no texts":   func(v *video.Video) { v.Title, v.ASRText = "", "" },
	} {
		want := plainVideo()
		change(&want)
		got, err := video.ParseExample(example(t, want))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestExampleSharesNoMemory(t *testing.T) {
	payload := example(t, plainVideo())
	v, err := video.ParseExample(payload)
	if err != nil {
		t.Fatal(err)
	}
	clear(payload)
	if !reflect.DeepEqual(v, plainVideo()) {
		t.Errorf("the video changed with the payload: %+v", v)
	}
}

// Integer lists come packed or one by one, and mixed.
func TestExampleUnpackedIntegers(t *testing.T) {
	var list []byte
	for _, id := range []uint64{7, 300} {
		list = protowire.AppendVarint(protowire.AppendTag(list, 1, protowire.VarintType), id)
	}
	list = append(list, message(1, protowire.AppendVarint(nil, 9))...)
	tags := append(message(1, []byte("tag_id")), message(2, message(3, list))...)
	v, err := video.ParseExample(rawExample(rawFeature("id", 1, "v"), tags))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v.TagIDs, []int64{7, 300, 9}) {
		t.Errorf("tags %v", v.TagIDs)
	}
}

func TestExampleRefuses(t *testing.T) {
	id := rawFeature("id", 1, "v")
	for name, c := range map[string]struct {
		payload []byte
		kind    errs.Kind
		field   string
	}{
		"no id":                   {rawExample(rawFeature("title", 1, "t")), errs.Invalid, "id"},
		"empty payload":           {nil, errs.Invalid, "id"},
		"title as integers":       {rawExample(id, rawFeature("title", 3)), errs.Invalid, "title"},
		"tags as bytes":           {rawExample(id, rawFeature("tag_id", 1, "5")), errs.Invalid, "tag_id"},
		"frames as floats":        {rawExample(id, rawFeature("frame_feature", 2)), errs.Invalid, "frame_feature"},
		"title not UTF-8":         {rawExample(id, rawFeature("title", 1, "\xff")), errs.Invalid, "title"},
		"frame of odd size":       {rawExample(id, rawFeature("frame_feature", 1, "abc")), errs.Invalid, "frame_feature"},
		"empty frame":             {rawExample(id, rawFeature("frame_feature", 1, "")), errs.Invalid, "frame_feature"},
		"frames of unequal size":  {rawExample(id, rawFeature("frame_feature", 1, "ab", "abcd")), errs.Invalid, "frame_feature"},
		"no protobuf":             {[]byte("\xff\xff\xff"), errs.Corrupt, "tf.Example"},
		"length beyond the end":   {[]byte{0x0a, 0x7f, 1}, errs.Corrupt, "tf.Example"},
		"integers cut in the end": {rawExample(id, rawFeature("tag_id", 3, "\x80")), errs.Corrupt, "tf.Example"},
	} {
		_, err := video.ParseExample(c.payload)
		if err == nil || errs.KindOf(err) != c.kind || errs.FieldOf(err) != c.field {
			t.Errorf("%s: error %v, want kind %s, field %q", name, err, c.kind, c.field)
		}
	}
}

func TestAppendExampleRefuses(t *testing.T) {
	for name, frames := range map[string]video.Frames{
		"other encoding": {Encoding: video.U8, Dim: 2, Count: 1, Data: []byte{1, 2}},
		"short data":     {Encoding: video.F16, Dim: 2, Count: 2, Data: []byte{1, 2}},
		"no dim":         {Encoding: video.F16, Count: 2, Data: []byte{1, 2}},
	} {
		if _, err := video.AppendExample(nil, video.Video{ID: "v", Frames: frames}); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: error %v, want Invalid", name, err)
		}
	}
}

// The reference crashes on most of these; each is taken from one that it was
// seen to crash on. Here they are videos with less in them, through to a batch.
func TestOddRecords(t *testing.T) {
	tok, err := text.New(text.ChineseVocab(), text.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := video.NewCollator(tok, video.CollateConfig{LateTokens: 64, EarlyTokens: 32, Frames: 32, FrameDim: 4})
	change := func(f func(*video.Video)) []byte { v := plainVideo(); f(&v); return example(t, v) }
	for name, payload := range map[string][]byte{
		"speech text missing":  change(func(v *video.Video) { v.ASRText = "" }),
		"tags missing":         change(func(v *video.Video) { v.TagIDs = nil }),
		"title missing":        change(func(v *video.Video) { v.Title = "" }),
		"title without values": rawExample(rawFeature("id", 1, "v1"), rawFeature("title", 1)),
		"feature without list": rawExample(rawFeature("id", 1, "v1"), message(1, []byte("title"))),
		"no frames":            change(func(v *video.Video) { v.Frames = video.Frames{} }),
		"33 frames":            change(func(v *video.Video) { v.Frames = halfFrames(4, 33) }),
		"tag beyond 2^31":      change(func(v *video.Video) { v.TagIDs = []int64{3_000_000_000} }),
		"unknown key":          rawExample(rawFeature("id", 1, "v1"), rawFeature("other", 2)),
		"later key wins":       rawExample(rawFeature("id", 1, "v0"), rawFeature("id", 1, "v1")),
	} {
		v, err := video.ParseExample(payload)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, err := c.Collate([]video.Video{v})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if b.IDs[0] != "v1" {
			t.Errorf("%s: id %q", name, b.IDs[0])
		}
	}
}

// Whatever the bytes: no panic, and what parses can be written and read again.
func FuzzParseExample(f *testing.F) {
	f.Add(example(f, plainVideo()))
	f.Add(rawExample(rawFeature("id", 1, "v"), rawFeature("frame_feature", 1, "ab", "cd"), rawFeature("tag_id", 3, "\x07\x80\x01")))
	f.Add(rawExample(rawFeature("id", 1, "v"), rawFeature("title", 3, "\x80")))
	f.Add([]byte("\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"))
	f.Add([]byte(strings.Repeat("\x0a\x02", 50)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		v, err := video.ParseExample(payload)
		if err != nil {
			if k := errs.KindOf(err); k != errs.Invalid && k != errs.Corrupt {
				t.Fatalf("kind %s of %v", k, err)
			}
			return
		}
		back, err := video.ParseExample(example(t, v))
		if err != nil {
			t.Fatal(err)
		}
		if len(v.TagIDs) == 0 {
			v.TagIDs, back.TagIDs = nil, nil
		}
		if !reflect.DeepEqual(back, v) {
			t.Fatalf("wrote %+v, read %+v", v, back)
		}
	})
}
