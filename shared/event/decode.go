package event

import (
	"encoding/json"
	"errors"
	"mime"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
)

// MaxEventBytes is the largest encoded event: what a NATS server accepts by
// default. 512 KiB of frames in base64 are 683 KiB.
const MaxEventBytes = 1 << 20

// Decode reads an event. contentType is the header's value; empty means JSON.
// Unknown fields, wrong types and invalid UTF-8 are refused, because what is
// skipped silently is an upload that is searchable by the wrong thing.
// The result is not validated yet.
func Decode(data []byte, contentType string) (*VideoEvent, error) {
	if len(data) > MaxEventBytes {
		return nil, errs.New(errs.Invalid, "expected at most %d bytes of event, found %d", MaxEventBytes, len(data))
	}
	media, err := mediaType(contentType)
	if err != nil {
		return nil, err
	}
	if media == ContentProtobuf {
		return decodeProtobuf(data)
	}
	e := &VideoEvent{}
	if err := strictJSON.Unmarshal(data, e); err != nil {
		return nil, jsonFault(data, err, "", func() proto.Message { return &VideoEvent{} })
	}
	return e, nil
}

// strictJSON has DiscardUnknown off: an unknown field is an error.
var strictJSON = protojson.UnmarshalOptions{}

func mediaType(contentType string) (string, error) {
	if contentType == "" {
		return ContentJSON, nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && media == ContentJSON:
		return ContentJSON, nil
	case err == nil && (media == ContentProtobuf || media == "application/x-protobuf"):
		return ContentProtobuf, nil
	}
	return "", errs.Field(HeaderContentType, "expected %s or %s, found %q", ContentProtobuf, ContentJSON, contentType)
}

func decodeProtobuf(data []byte) (*VideoEvent, error) {
	e := &VideoEvent{}
	if err := proto.Unmarshal(data, e); err != nil {
		return nil, errs.New(errs.Invalid, "decode protobuf event: %s", clean(err))
	}
	if err := noUnknown("", e.ProtoReflect().GetUnknown()); err != nil {
		return nil, err
	}
	if err := noUnknown("frames.", e.GetFrames().ProtoReflect().GetUnknown()); err != nil {
		return nil, err
	}
	return e, nil
}

func noUnknown(path string, raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	num, _, n := protowire.ConsumeTag(raw)
	if n < 0 {
		return errs.New(errs.Invalid, "decode protobuf event: malformed field")
	}
	return errs.Field(path+"#"+itoa(int64(num)), "unknown field number, or a known one of another type")
}

// jsonFault finds which field made err, by decoding each alone: the decoder's
// own message gives neither the path nor a stable form. Only errors come here.
func jsonFault(data []byte, err error, path string, empty func() proto.Message) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		if path != "" {
			return errs.Field(strings.TrimSuffix(path, "."), "expected an object: %s", clean(err))
		}
		return errs.New(errs.Invalid, "decode JSON event: %s", clean(err))
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names) // the same message for the same bytes
	for _, name := range names {
		alone, _ := json.Marshal(map[string]json.RawMessage{name: fields[name]})
		fault := strictJSON.Unmarshal(alone, empty())
		switch {
		case fault == nil:
		case name == "frames" && path == "":
			return jsonFault(fields[name], fault, "frames.", func() proto.Message { return &Frames{} })
		default:
			return errs.Field(path+name, "%s", clean(fault))
		}
	}
	return errs.New(errs.Invalid, "decode JSON event: %s", clean(err)) // a field twice, say
}

// clean takes the decoder's prefix and position off, which are about bytes
// that the producer never sees, and the blanks it varies on purpose.
func clean(err error) string {
	var e *errs.Error
	if errors.As(err, &e) {
		return e.Error()
	}
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	text = strings.TrimPrefix(text, "proto: ")
	if rest, ok := strings.CutPrefix(text, "(line "); ok {
		if _, after, ok := strings.Cut(rest, "): "); ok {
			text = after
		}
	}
	const most = 300 // a wrong value may be as long as the event
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
