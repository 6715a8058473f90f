package video

import (
	"bytes"
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

// ParseExample reads a tf.Example in the challenge's schema. Keys that are
// missing, or whose list is empty, leave the field empty, all but the id; keys
// that it does not know are skipped. The video shares no memory with payload.
//
// Errors: Corrupt for bytes that are no Example, Invalid, with the key, for a
// list of the wrong kind, text that is not UTF-8, or frames of unequal size.
func ParseExample(payload []byte) (Video, error) {
	var v Video
	err := eachFeature(payload, func(key string, value []byte) error {
		want := bytesList
		switch key {
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
			return errs.Field(key, "expected %s, found %s", want, f.kind)
		}
		return v.set(key, f)
	})
	if err != nil {
		return Video{}, err
	}
	if v.ID == "" {
		return Video{}, errs.Field(keyID, "is missing or empty")
	}
	return v, nil
}

func (v *Video) set(key string, f feature) (err error) {
	switch key {
	case keyID:
		v.ID, err = firstText(key, f)
	case keyTitle:
		v.Title, err = firstText(key, f)
	case keyASRText:
		v.ASRText, err = firstText(key, f)
	case keyTags:
		v.TagIDs = f.ints
	case keyCategory:
		v.CategoryID = 0
		if len(f.ints) > 0 {
			v.CategoryID = f.ints[0]
		}
	case keyFrames:
		v.Frames, err = joinFrames(f.bytes)
	}
	return err
}

// firstText is the first value of a list, which may have none.
func firstText(key string, f feature) (string, error) {
	if len(f.bytes) == 0 {
		return "", nil
	}
	if !utf8.Valid(f.bytes[0]) {
		return "", errs.Field(key, "is not UTF-8")
	}
	return string(f.bytes[0]), nil
}

func joinFrames(rows [][]byte) (Frames, error) {
	if len(rows) == 0 {
		return Frames{}, nil
	}
	size := len(rows[0])
	if size == 0 || size%2 != 0 {
		return Frames{}, errs.Field(keyFrames, "frame 0 has %d bytes, expected a number of float16", size)
	}
	for i, row := range rows {
		if len(row) != size {
			return Frames{}, errs.Field(keyFrames, "frame %d has %d bytes, frame 0 has %d", i, len(row), size)
		}
	}
	return Frames{Encoding: F16, Dim: size / 2, Count: len(rows), Data: bytes.Join(rows, nil)}, nil
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
