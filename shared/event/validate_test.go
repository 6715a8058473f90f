package event

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"videosim/shared/errs"
	"videosim/shared/video"
)

func valid() *VideoEvent {
	return &VideoEvent{
		Id: "7", Title: "标题", AsrText: "speech", CategoryId: 3, TagIds: []int64{1, 2},
		PublishedAt: timestamppb.Now(), ThumbnailUrl: "https://x/y.jpg",
		Frames: &Frames{Dim: 4, Count: 2, Data: make([]byte, 16)},
	}
}

func byRef() *Frames {
	return &Frames{Dim: 4, Count: 2, Ref: "objectstore:frames/7", Sha256: strings.Repeat("0a", 32)}
}

func TestValidAndNot(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(e *VideoEvent)
		field  string // "": valid
	}{
		{"as it is", func(*VideoEvent) {}, ""},
		{"an id alone", func(e *VideoEvent) { *e = VideoEvent{Id: "7"} }, ""},
		{"a delete", func(e *VideoEvent) { *e = VideoEvent{Id: "7", Op: VideoEvent_DELETE} }, ""},
		{"no frames in frames", func(e *VideoEvent) { e.Frames = &Frames{} }, ""},
		{"no frames, but their size", func(e *VideoEvent) { e.Frames = &Frames{Dim: 2} }, ""},
		{"F32", func(e *VideoEvent) { e.Frames.Encoding, e.Frames.Data = Frames_F32, make([]byte, 32) }, ""},
		{"U8", func(e *VideoEvent) {
			e.Frames = &Frames{Encoding: Frames_U8, Dim: 4, Count: 2, Data: make([]byte, 8), Scale: 1}
		}, ""},
		{"a reference", func(e *VideoEvent) { e.Frames = byRef() }, ""},
		{"the largest inline", func(e *VideoEvent) {
			e.Frames = &Frames{Dim: 4, Count: 4096, Encoding: Frames_F32, Data: make([]byte, 4*4*4096)}
		}, ""},

		{"no id", func(e *VideoEvent) { e.Id = "" }, "id"},
		{"a long id", func(e *VideoEvent) { e.Id = strings.Repeat("x", 65) }, "id"},
		{"an id that is not UTF-8", func(e *VideoEvent) { e.Id = "\xff" }, "id"},
		{"an id with a zero byte", func(e *VideoEvent) { e.Id = "a\x00b" }, "id"},
		{"an op", func(e *VideoEvent) { e.Op = 7 }, "op"},
		{"a title", func(e *VideoEvent) { e.Title = strings.Repeat("x", MaxTitleBytes+1) }, "title"},
		{"a title that is not UTF-8", func(e *VideoEvent) { e.Title = "\xff" }, "title"},
		{"a speech text", func(e *VideoEvent) { e.AsrText = strings.Repeat("x", MaxSpeechBytes+1) }, "asr_text"},
		{"a category", func(e *VideoEvent) { e.CategoryId = -1 }, "category_id"},
		{"a large category", func(e *VideoEvent) { e.CategoryId = 1 << 53 }, "category_id"},
		{"a tag", func(e *VideoEvent) { e.TagIds[1] = -1 }, "tag_ids[1]"},
		{"many tags", func(e *VideoEvent) { e.TagIds = make([]int64, MaxTags+1) }, "tag_ids"},
		{"a time", func(e *VideoEvent) { e.PublishedAt.Seconds = math.MaxInt64 }, "published_at"},
		{"a script", func(e *VideoEvent) { e.ThumbnailUrl = "javascript:alert(1)" }, "thumbnail_url"},
		{"a relative address", func(e *VideoEvent) { e.ThumbnailUrl = "/y.jpg" }, "thumbnail_url"},
		{"a long address", func(e *VideoEvent) { e.ThumbnailUrl = "https://x/" + strings.Repeat("y", MaxURLBytes) }, "thumbnail_url"},
		{"an encoding", func(e *VideoEvent) { e.Frames.Encoding = 9 }, "frames.encoding"},
		{"no frames of less than no numbers", func(e *VideoEvent) { e.Frames = &Frames{Dim: -1} }, "frames.dim"},
		{"no frames of too many numbers", func(e *VideoEvent) { e.Frames = &Frames{Dim: MaxFrameDim + 1} }, "frames.dim"},
		{"no dim", func(e *VideoEvent) { e.Frames.Dim = 0 }, "frames.dim"},
		{"another dim", func(e *VideoEvent) { e.Frames.Dim = 2; e.Frames.Count = 4 }, "frames.dim"},
		{"a negative count", func(e *VideoEvent) { e.Frames.Count = -2 }, "frames.count"},
		{"many frames", func(e *VideoEvent) { e.Frames.Count = MaxFrames + 1 }, "frames.count"},
		{"short data", func(e *VideoEvent) { e.Frames.Data = e.Frames.Data[1:] }, "frames.data"},
		{"no data", func(e *VideoEvent) { e.Frames.Data = nil }, "frames.data"},
		{"much data", func(e *VideoEvent) { e.Frames.Data = make([]byte, MaxInlineBytes+1) }, "frames.data"},
		{"a scale without U8", func(e *VideoEvent) { e.Frames.Scale = 1 }, "frames.scale"},
		{"U8 without a scale", func(e *VideoEvent) { e.Frames.Encoding, e.Frames.Data = Frames_U8, make([]byte, 8) }, "frames.scale"},
		{"a scale that is no number", func(e *VideoEvent) { e.Frames.Encoding = Frames_U8; e.Frames.Scale = float32(math.NaN()) }, "frames.scale"},
		{"an endless offset", func(e *VideoEvent) {
			e.Frames.Encoding, e.Frames.Scale, e.Frames.Offset = Frames_U8, 1, float32(math.Inf(1))
		}, "frames.offset"},
		{"a hash without a reference", func(e *VideoEvent) { e.Frames.Sha256 = "00" }, "frames.sha256"},
		{"data and a reference", func(e *VideoEvent) { e.Frames = byRef(); e.Frames.Data = make([]byte, 16) }, "frames.data"},
		{"a reference without a hash", func(e *VideoEvent) { e.Frames = byRef(); e.Frames.Sha256 = "" }, "frames.sha256"},
		{"a hash in capitals", func(e *VideoEvent) { e.Frames = byRef(); e.Frames.Sha256 = strings.Repeat("0A", 32) }, "frames.sha256"},
		{"a reference to nowhere", func(e *VideoEvent) { e.Frames = byRef(); e.Frames.Ref = "ftp://x/y" }, "frames.ref"},
		{"a bucket without a key", func(e *VideoEvent) { e.Frames = byRef(); e.Frames.Ref = "objectstore:frames" }, "frames.ref"},
		{"a relative file", func(e *VideoEvent) { e.Frames = byRef(); e.Frames.Ref = "file:frames" }, "frames.ref"},
	} {
		e := valid()
		c.change(e)
		err := Validate(e, 4)
		if c.field == "" && err != nil || errs.FieldOf(err) != c.field {
			t.Errorf("%s: %v, expected field %q", c.name, err, c.field)
		}
	}
	e := valid()
	e.Frames = &Frames{Dim: MaxFrameDim, Count: MaxFrames, Ref: "https://x/y", Sha256: strings.Repeat("00", 32)}
	if err := Validate(e, 0); errs.FieldOf(err) != "frames.count" {
		t.Errorf("%v, expected a bound on what is referenced", err)
	}
}

func TestCheckSubject(t *testing.T) {
	if err := CheckSubject(&VideoEvent{Id: "a.b"}, "videos.~YS5i"); err != nil {
		t.Error(err)
	}
	if err := CheckSubject(&VideoEvent{Id: "8"}, "videos.7"); errs.FieldOf(err) != "id" {
		t.Errorf("%v, expected the id named", err)
	}
}

func TestToVideoAndBack(t *testing.T) {
	for _, f := range []*Frames{
		nil,
		{Dim: 4, Count: 2, Data: make([]byte, 16)},
		{Encoding: Frames_F32, Dim: 4, Count: 2, Data: make([]byte, 32)},
		{Encoding: Frames_U8, Dim: 4, Count: 2, Data: make([]byte, 8), Scale: 2, Offset: -1},
	} {
		e := valid()
		e.Frames = f
		v, err := ToVideo(e)
		if err != nil {
			t.Fatal(err)
		}
		back := FromVideo(v)
		back.PublishedAt, back.ThumbnailUrl = e.PublishedAt, e.ThumbnailUrl // which a Video does not have
		if !proto.Equal(back, e) {
			t.Errorf("got %v, want %v", back, e)
		}
	}
	if v, err := ToVideo(&VideoEvent{Id: "7", Frames: &Frames{}}); err != nil || !reflect.DeepEqual(v, video.Video{ID: "7"}) {
		t.Errorf("without frames: %+v, %v", v, err)
	}
	for field, f := range map[string]*Frames{"frames.ref": byRef(), "frames.data": {Dim: 1, Count: 1, Data: []byte{1}}, "frames.encoding": {Encoding: 8, Count: 1}} {
		if _, err := ToVideo(&VideoEvent{Id: "7", Frames: f}); errs.FieldOf(err) != field {
			t.Errorf("%v, expected field %s", err, field)
		}
	}
}

func TestParseRef(t *testing.T) {
	for ref, want := range map[string]Ref{
		"objectstore:frames/a/b": {"objectstore", "frames", "a/b"},
		"https://x/y?z":          {"https", "", "https://x/y?z"},
		"http://x/y":             {"http", "", "http://x/y"},
		"file:///a/b":            {"file", "", "/a/b"},
	} {
		if got, err := ParseRef(ref); err != nil || got != want {
			t.Errorf("%s: %+v, %v", ref, got, err)
		}
	}
}

func TestFaultsTravel(t *testing.T) {
	for _, err := range []error{errs.Field("frames.dim", "expected %d", 4), errs.New(errs.Overloaded, "full"), errs.New(errs.Internal, "bug")} {
		back := Fault(FaultOf(err))
		if errs.KindOf(back) != errs.KindOf(err) || errs.FieldOf(back) != errs.FieldOf(err) || back.Error() != err.Error() {
			t.Errorf("%v came back as %v", err, back)
		}
	}
	if Fault(FaultOf(nil)) != nil {
		t.Error("no error came back as one")
	}
}
