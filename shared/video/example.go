package video

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"videosim/shared/errs"
)

// The challenge's keys.
const (
	keyID       = "id"
	keyTitle    = "title"
	keyASRText  = "asr_text"
	keyFrames   = "frame_feature" // a value a frame: Dim float16
	keyTags     = "tag_id"
	keyCategory = "category_id"
)

// MaxIDBytes is the longest id: what the wire contract allows.
const MaxIDBytes = 64

// ParseExample reads a tf.Example in the challenge's schema. Keys that are
// missing, or whose list is empty, leave the field empty, all but the id; keys
// that it does not know are skipped. The video shares no memory with payload.
//
// Errors: Corrupt for bytes that are no Example; Invalid, with the key, for a
// list of the wrong kind, an id that is not 1 to MaxIDBytes bytes, text that is
// not UTF-8, or frames of unequal size. All carry an errs.Mismatch.
func ParseExample(payload []byte) (Video, error) {
	var e example
	if err := e.parse(payload); err != nil {
		return Video{}, err
	}
	v := Video{ID: string(e.id), Title: string(e.title), ASRText: string(e.speech), CategoryID: e.category, TagIDs: e.tags}
	if len(e.frames) > 0 {
		v.Frames = Frames{Encoding: F16, Dim: len(e.frames[0]) / 2, Count: len(e.frames), Data: bytes.Join(e.frames, nil)}
	}
	return v, nil
}

// Outline is what a catalogue keeps of a video that it does not load.
type Outline struct {
	ID                  string
	Frames, FrameDim    int // FrameDim is 0 without frames
	Title, Speech, Tags bool
}

// OutlineExample reads a payload as ParseExample does, with the same errors,
// and copies nothing of it but the id. It looks at every frame value, too: one
// that is not finite is Invalid, as it is to a Collator.
func OutlineExample(payload []byte) (Outline, error) {
	var e example
	if err := e.parse(payload); err != nil {
		return Outline{}, err
	}
	o := Outline{ID: string(e.id), Frames: len(e.frames), Title: len(e.title) > 0, Speech: len(e.speech) > 0, Tags: len(e.tags) > 0}
	for i, row := range e.frames {
		o.FrameDim = len(row) / 2
		if at := notFiniteHalf(row); at >= 0 {
			return Outline{}, errs.Unlike(errs.Invalid, keyFrames, "finite numbers", fmt.Sprintf("NaN or infinity as value %d of frame %d", at, i))
		}
	}
	return o, nil
}

// example is a parsed payload; its bytes alias the payload.
type example struct {
	id, title, speech []byte
	category          int64
	tags              []int64
	frames            [][]byte // of equal size, an even number of bytes
}

func (e *example) parse(payload []byte) error {
	err := eachFeature(payload, func(key, value []byte) error {
		want := bytesList
		switch string(key) {
		case keyTags, keyCategory:
			want = int64List
		case keyID, keyTitle, keyASRText, keyFrames:
		default:
			return nil
		}
		f, err := parseFeature(value)
		if err != nil {
			return err
		}
		if f.kind != want && f.kind != noList {
			return errs.Unlike(errs.Invalid, string(key), want.String(), f.kind.String())
		}
		return e.set(string(key), f)
	})
	if err != nil {
		return err
	}
	return checkID(e.id)
}

func checkID(id []byte) error {
	expected := fmt.Sprintf("1 to %d bytes of UTF-8", MaxIDBytes)
	switch {
	case len(id) == 0:
		return errs.Unlike(errs.Invalid, keyID, expected, "none")
	case len(id) > MaxIDBytes:
		return errs.Unlike(errs.Invalid, keyID, expected, fmt.Sprintf("%d bytes", len(id)))
	}
	return nil
}

func (e *example) set(key string, f feature) (err error) {
	switch key {
	case keyID:
		e.id, err = firstText(key, f)
	case keyTitle:
		e.title, err = firstText(key, f)
	case keyASRText:
		e.speech, err = firstText(key, f)
	case keyTags:
		e.tags = f.ints
	case keyCategory:
		e.category = 0
		if len(f.ints) > 0 {
			e.category = f.ints[0]
		}
	case keyFrames:
		e.frames, err = f.bytes, checkRows(f.bytes)
	}
	return err
}

// firstText is the first value of a list, which may have none.
func firstText(key string, f feature) ([]byte, error) {
	if len(f.bytes) == 0 {
		return nil, nil
	}
	if text := f.bytes[0]; !utf8.Valid(text) {
		return nil, errs.Unlike(errs.Invalid, key, "UTF-8", quote(text))
	}
	return f.bytes[0], nil
}

// quote shows at most 40 bytes of a text that may be anything.
func quote(text []byte) string {
	if len(text) <= 40 {
		return strconv.Quote(string(text))
	}
	return fmt.Sprintf("%q… (%d bytes)", text[:40], len(text))
}

func checkRows(rows [][]byte) error {
	for i, row := range rows {
		switch size := len(rows[0]); {
		case size == 0 || size%2 != 0:
			return errs.Unlike(errs.Invalid, keyFrames, "a number of float16 in frame 0", fmt.Sprintf("%d bytes", size))
		case len(row) != size:
			return errs.Unlike(errs.Invalid, keyFrames, fmt.Sprintf("%d bytes in frame %d as in frame 0", size, i), fmt.Sprint(len(row)))
		}
	}
	return nil
}

// AppendExample appends v as a tf.Example in the challenge's schema to dst.
// The schema has float16 frames only: frames of another encoding are Invalid.
// Fields of a zero value are left out, as a producer that lacks them does.
func AppendExample(dst []byte, v Video) ([]byte, error) {
	if v.Frames.Count > 0 && v.Frames.Encoding != F16 {
		return nil, errs.Field(keyFrames, "expected f16, found %s", v.Frames.Encoding)
	}
	if err := v.Frames.check(); err != nil {
		return nil, err
	}
	features := appendText(nil, keyID, v.ID)
	if len(v.TagIDs) > 0 {
		features = appendInts(features, keyTags, v.TagIDs)
	}
	if v.CategoryID != 0 {
		features = appendInts(features, keyCategory, []int64{v.CategoryID})
	}
	if v.Title != "" {
		features = appendText(features, keyTitle, v.Title)
	}
	if n := v.Frames.Dim * F16.Bytes(); v.Frames.Count > 0 {
		list := make([]byte, 0, len(v.Frames.Data)+8*v.Frames.Count)
		for i := range v.Frames.Count {
			list = appendMessage(list, 1, v.Frames.Data[i*n:(i+1)*n])
		}
		features = appendEntry(features, keyFrames, bytesList, list)
	}
	if v.ASRText != "" {
		features = appendText(features, keyASRText, v.ASRText)
	}
	return appendMessage(dst, 1, features), nil
}

func appendText(dst []byte, key, text string) []byte {
	return appendEntry(dst, key, bytesList, appendMessage(nil, 1, []byte(text)))
}

func appendInts(dst []byte, key string, values []int64) []byte {
	var packed []byte
	for _, v := range values {
		packed = protowire.AppendVarint(packed, uint64(v))
	}
	return appendEntry(dst, key, int64List, appendMessage(nil, 1, packed))
}
