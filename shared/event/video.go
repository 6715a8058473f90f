package event

import (
	"net/url"
	"strings"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// ToVideo returns what the models read of e, sharing its bytes. Frames behind
// a ref must have been fetched into Data before (see ParseRef).
func ToVideo(e *VideoEvent) (video.Video, error) {
	v := video.Video{
		ID:         e.GetId(),
		Title:      e.GetTitle(),
		ASRText:    e.GetAsrText(),
		CategoryID: e.GetCategoryId(),
		TagIDs:     e.GetTagIds(),
	}
	f := e.GetFrames()
	if f == nil || f.GetCount() == 0 && len(f.GetData()) == 0 && f.GetRef() == "" {
		return v, nil
	}
	if f.GetRef() != "" && len(f.GetData()) == 0 {
		return video.Video{}, errs.Field("frames.ref", "%s has not been fetched", f.GetRef())
	}
	size, err := valueBytes(f.GetEncoding())
	if err != nil {
		return video.Video{}, err
	}
	if want := int(f.GetDim()) * int(f.GetCount()) * size; len(f.GetData()) != want {
		return video.Video{}, errs.Field("frames.data", "expected %d bytes, found %d", want, len(f.GetData()))
	}
	v.Frames = video.Frames{
		Encoding: encodings[f.GetEncoding()],
		Dim:      int(f.GetDim()),
		Count:    int(f.GetCount()),
		Data:     f.GetData(),
		Scale:    f.GetScale(),
		Offset:   f.GetOffset(),
	}
	return v, nil
}

// FromVideo returns the event that publishes v, sharing its bytes.
func FromVideo(v video.Video) *VideoEvent {
	e := &VideoEvent{
		Id:         v.ID,
		Title:      v.Title,
		AsrText:    v.ASRText,
		CategoryId: v.CategoryID,
		TagIds:     v.TagIDs,
	}
	if v.Frames.Count == 0 {
		return e
	}
	e.Frames = &Frames{
		Dim:   int32(v.Frames.Dim),
		Count: int32(v.Frames.Count),
		Data:  v.Frames.Data,
	}
	for wire, enc := range encodings {
		if enc == v.Frames.Encoding {
			e.Frames.Encoding = wire
		}
	}
	if v.Frames.Encoding == video.U8 {
		e.Frames.Scale, e.Frames.Offset = v.Frames.Scale, v.Frames.Offset
	}
	return e
}

// Ref is where referenced frames lie.
type Ref struct {
	Scheme string // "objectstore", "http", "https" or "file"
	Bucket string // objectstore only
	Key    string // objectstore: the key; file: the absolute path; http(s): the whole address
}

// ParseRef reads frames.ref: objectstore:<bucket>/<key>, an http(s) address,
// or file:///<absolute path>.
func ParseRef(ref string) (Ref, error) {
	if rest, ok := strings.CutPrefix(ref, "objectstore:"); ok {
		bucket, key, ok := strings.Cut(rest, "/")
		if !ok || bucket == "" || key == "" {
			return Ref{}, errs.Field("frames.ref", "expected objectstore:<bucket>/<key>, found %q", ref)
		}
		return Ref{Scheme: "objectstore", Bucket: bucket, Key: key}, nil
	}
	u, err := url.Parse(ref)
	switch {
	case err != nil:
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return Ref{Scheme: u.Scheme, Key: ref}, nil
	case u.Scheme == "file" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return Ref{Scheme: "file", Key: u.Path}, nil
	}
	return Ref{}, errs.Field("frames.ref", "expected objectstore:<bucket>/<key>, http(s)://… or file:///…, found %q", ref)
}
