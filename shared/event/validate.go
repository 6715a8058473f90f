package event

import (
	"encoding/hex"
	"math"
	"net/url"
	"strconv"
	"unicode/utf8"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// Caps. Each keeps one event from costing more than a video is worth; a title
// is read to 64 tokens and a speech text to what the model's length leaves.
const (
	MaxInlineBytes           = 512 << 10 // frames inside an event: 170 rows of 1,536 in F16
	MaxReferencedBytes       = 16 << 20  // frames behind a ref
	MaxTitleBytes            = 4 << 10
	MaxSpeechBytes           = 64 << 10
	MaxURLBytes              = 2 << 10
	MaxTags                  = 256
	MaxFrames                = 4096
	MaxFrameDim              = 16384
	maxExactInt        int64 = 1<<53 - 1 // above, a JavaScript reader of our answers would round
)

// Validate checks everything about e that the models and the index rely on,
// but for the frame values themselves, which collation checks as it reads
// them. frameDim is the model's; 0 accepts any. Errors name the field.
func Validate(e *VideoEvent, frameDim int) error {
	if err := ValidateID(e.GetId()); err != nil {
		return err
	}
	switch e.GetOp() {
	case VideoEvent_DELETE:
		return nil // only the id counts
	case VideoEvent_UPSERT:
	default:
		return errs.Field("op", "expected UPSERT or DELETE, found %d", e.GetOp())
	}
	for _, check := range []func(*VideoEvent) error{validateTexts, validateLabels, validateTime, validateThumbnail} {
		if err := check(e); err != nil {
			return err
		}
	}
	if e.Frames == nil {
		return nil
	}
	return validateFrames(e.Frames, frameDim)
}

// CheckSubject checks that e was published where its id belongs.
func CheckSubject(e *VideoEvent, subject string) error {
	id, err := IDFromSubject(subject)
	if err != nil {
		return err
	}
	if id != e.GetId() {
		return errs.Field("id", "expected %q, which the subject %s says, found %q", id, subject, e.GetId())
	}
	return nil
}

func validateTexts(e *VideoEvent) error {
	for _, text := range []struct {
		field, value string
		max          int
	}{
		{"title", e.GetTitle(), MaxTitleBytes},
		{"asr_text", e.GetAsrText(), MaxSpeechBytes},
		{"thumbnail_url", e.GetThumbnailUrl(), MaxURLBytes},
	} {
		if len(text.value) > text.max {
			return errs.Field(text.field, "expected at most %d bytes, found %d", text.max, len(text.value))
		}
		if !utf8.ValidString(text.value) {
			return errs.Field(text.field, "expected UTF-8")
		}
	}
	return nil
}

func validateLabels(e *VideoEvent) error {
	if c := e.GetCategoryId(); c < 0 || c > maxExactInt {
		return errs.Field("category_id", "expected 0 to %d, found %d", maxExactInt, c)
	}
	if n := len(e.GetTagIds()); n > MaxTags {
		return errs.Field("tag_ids", "expected at most %d tags, found %d", MaxTags, n)
	}
	for i, tag := range e.GetTagIds() {
		if tag < 0 || tag > maxExactInt {
			return errs.Field("tag_ids["+itoa(int64(i))+"]", "expected 0 to %d, found %d", maxExactInt, tag)
		}
	}
	return nil
}

func validateTime(e *VideoEvent) error {
	if e.GetPublishedAt() == nil {
		return nil
	}
	if err := e.GetPublishedAt().CheckValid(); err != nil {
		return errs.Field("published_at", "%s", clean(err))
	}
	return nil
}

func validateThumbnail(e *VideoEvent) error {
	raw := e.GetThumbnailUrl()
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errs.Field("thumbnail_url", "expected an http or https address, found %q", raw)
	}
	return nil
}

func validateFrames(f *Frames, frameDim int) error {
	size, err := valueBytes(f.GetEncoding())
	if err != nil {
		return err
	}
	dim, count := int(f.GetDim()), int(f.GetCount())
	none := count == 0 && len(f.GetData()) == 0 && f.GetRef() == ""
	switch {
	case none && (dim < 0 || dim > MaxFrameDim):
		return errs.Field("frames.dim", "expected 0 to %d without frames, found %d", MaxFrameDim, dim)
	case none:
		return nil // a video without frames
	case dim < 1 || dim > MaxFrameDim:
		return errs.Field("frames.dim", "expected 1 to %d, found %d", MaxFrameDim, dim)
	case frameDim > 0 && dim != frameDim:
		return errs.Field("frames.dim", "expected %d, which the model reads, found %d", frameDim, dim)
	case count < 1 || count > MaxFrames:
		return errs.Field("frames.count", "expected 1 to %d, found %d", MaxFrames, count)
	}
	if err := validateScale(f); err != nil {
		return err
	}
	if f.GetRef() != "" {
		return validateRef(f, dim*count*size)
	}
	switch want := dim * count * size; {
	case len(f.GetData()) > MaxInlineBytes:
		return errs.Field("frames.data", "expected at most %d bytes inline, found %d: send a ref instead", MaxInlineBytes, len(f.GetData()))
	case len(f.GetData()) != want:
		return errs.Field("frames.data", "expected %d bytes (%d frames of %d values of %d bytes), found %d", want, count, dim, size, len(f.GetData()))
	case f.GetSha256() != "":
		return errs.Field("frames.sha256", "expected none without a ref")
	}
	return nil
}

func validateScale(f *Frames) error {
	scale, offset := float64(f.GetScale()), float64(f.GetOffset())
	if f.GetEncoding() != Frames_U8 {
		if scale != 0 || offset != 0 {
			return errs.Field("frames.scale", "expected no scale and no offset with %s", f.GetEncoding())
		}
		return nil
	}
	if scale == 0 || math.IsNaN(scale) || math.IsInf(scale, 0) {
		return errs.Field("frames.scale", "expected a finite number other than 0 with U8, found %v", scale)
	}
	if math.IsNaN(offset) || math.IsInf(offset, 0) {
		return errs.Field("frames.offset", "expected a finite number, found %v", offset)
	}
	return nil
}

func validateRef(f *Frames, bytes int) error {
	if len(f.GetData()) > 0 {
		return errs.Field("frames.data", "expected either data or a ref, found both")
	}
	if bytes > MaxReferencedBytes {
		return errs.Field("frames.count", "expected at most %d bytes behind a ref, found %d", MaxReferencedBytes, bytes)
	}
	if len(f.GetRef()) > MaxURLBytes {
		return errs.Field("frames.ref", "expected at most %d bytes, found %d", MaxURLBytes, len(f.GetRef()))
	}
	if _, err := ParseRef(f.GetRef()); err != nil {
		return err
	}
	sum, err := hex.DecodeString(f.GetSha256())
	if err != nil || len(sum) != 32 || hex.EncodeToString(sum) != f.GetSha256() {
		return errs.Field("frames.sha256", "expected 64 lower-case hex digits with a ref, found %q", f.GetSha256())
	}
	return nil
}

// valueBytes is the size of one value.
func valueBytes(enc Frames_Encoding) (int, error) {
	if e, ok := encodings[enc]; ok {
		return e.Bytes(), nil
	}
	return 0, errs.Field("frames.encoding", "expected F16, F32 or U8, found %d", enc)
}

// encodings maps the wire's names to the video package's.
var encodings = map[Frames_Encoding]video.Encoding{
	Frames_F16: video.F16,
	Frames_F32: video.F32,
	Frames_U8:  video.U8,
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
