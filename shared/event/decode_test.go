package event

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"videosim/shared/errs"
)

func TestDecodeAlike(t *testing.T) {
	want := &VideoEvent{
		Id: "7", Op: VideoEvent_DELETE, Title: "标题", AsrText: "speech", CategoryId: 3, TagIds: []int64{1, 1 << 40},
		PublishedAt: &timestamppb.Timestamp{Seconds: 1700000000}, ThumbnailUrl: "https://x/y.jpg",
		Frames: &Frames{Encoding: Frames_U8, Dim: 2, Count: 1, Data: []byte{1, 2}, Scale: 0.5, Offset: -1},
	}
	binary, err := proto.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"id":"7","op":"DELETE","title":"标题","asr_text":"speech","categoryId":"3","tag_ids":[1,"1099511627776"],
		"published_at":"2023-11-14T22:13:20Z","thumbnailUrl":"https://x/y.jpg",
		"frames":{"encoding":"U8","dim":2,"count":1,"data":"AQI=","scale":0.5,"offset":-1}}`
	for _, c := range []struct {
		data []byte
		kind string
	}{
		{[]byte(text), ""},
		{[]byte(text), "application/json"},
		{[]byte(text), "application/json; charset=utf-8"},
		{binary, "application/protobuf"},
		{binary, "application/x-protobuf"},
	} {
		got, err := Decode(c.data, c.kind)
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("as %q: %v, %v", c.kind, got, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	wrongType := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 1)
	inFrames := protowire.AppendBytes(protowire.AppendTag(nil, 9, protowire.BytesType), unknown)
	badText := protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), "\xff")
	for _, c := range []struct {
		name, data, kind, field, says string
	}{
		{"an unknown field", `{"id":"7","titel":"x"}`, "", "titel", "unknown field"},
		{"an unknown field of frames", `{"id":"7","frames":{"dims":3}}`, "", "frames.dims", "unknown field"},
		{"a wrong type", `{"id":7}`, "", "id", "invalid value"},
		{"a wrong type in a list", `{"id":"7","tag_ids":["x"]}`, "", "tag_ids", "invalid value"},
		{"a wrong type in frames", `{"id":"7","frames":{"dim":"wide"}}`, "", "frames.dim", "invalid value"},
		{"frames that are none", `{"id":"7","frames":[]}`, "", "frames", "object"},
		{"a time that is none", `{"id":"7","published_at":"yesterday"}`, "", "published_at", "invalid"},
		{"a word that is none", `{"id":"7","op":"REPLACE"}`, "", "op", "invalid value"},
		{"a field twice", `{"id":"7","id":"8"}`, "", "", "duplicate"},
		{"no JSON", `id: 7`, "", "", "decode JSON"},
		{"nothing", ``, "", "", "decode JSON"},
		{"a list", `[]`, "", "", "decode JSON"},
		{"another media type", `{}`, "text/plain", "Content-Type", "expected application/protobuf or application/json"},
		{"no media type", `{}`, ";;", "Content-Type", "expected"},
		{"JSON called protobuf", `{"id":"7"}`, "application/protobuf", "", "protobuf"},
		{"an unknown number", string(unknown), "application/protobuf", "#99", "unknown"},
		{"an unknown number in frames", string(inFrames), "application/protobuf", "frames.#99", "unknown"},
		{"a number of another type", string(wrongType), "application/protobuf", "#3", "another type"},
		{"text that is not UTF-8", string(badText), "application/protobuf", "", "UTF-8"},
		{"too much", strings.Repeat(" ", MaxEventBytes+1), "", "", "at most"},
	} {
		_, err := Decode([]byte(c.data), c.kind)
		if errs.KindOf(err) != errs.Invalid || errs.FieldOf(err) != c.field || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: field %q, error %v; expected field %q and %q", c.name, errs.FieldOf(err), err, c.field, c.says)
		}
	}
}

func TestDecodeErrorsAreShort(t *testing.T) {
	_, err := Decode([]byte(`{"op":"`+strings.Repeat("视", 10000)+`"}`), "")
	if err == nil || len(err.Error()) > 400 || strings.ContainsRune(err.Error(), '\uFFFD') {
		t.Errorf("error of %d bytes: %.80v", len(err.Error()), err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"7","frames":{"dim":1}}`), true)
	f.Add([]byte{10, 1, 55}, false)
	f.Fuzz(func(t *testing.T, data []byte, isJSON bool) {
		kind := ContentProtobuf
		if isJSON {
			kind = ContentJSON
		}
		e, err := Decode(data, kind)
		if (e == nil) == (err == nil) {
			t.Fatalf("event %v, error %v", e, err)
		}
		if err != nil && errs.KindOf(err) != errs.Invalid {
			t.Fatalf("error %v is %s", err, errs.KindOf(err))
		}
		if err == nil && Validate(e, 0) == nil {
			if v, err := ToVideo(e); err != nil && e.GetFrames().GetRef() == "" {
				t.Fatalf("%v is valid, but %v (%v)", e, err, v)
			}
		}
	})
}
