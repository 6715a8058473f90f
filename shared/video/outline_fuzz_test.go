package video_test

import (
	"errors"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// Whatever the bytes: an outline says of a payload what parsing it says, and
// every error has its parts.
func FuzzOutlineExample(f *testing.F) {
	f.Add(example(f, plainVideo()))
	f.Add(rawExample(rawFeature("id", 1, "v"), rawFeature("frame_feature", 1, "ab", "cd"), rawFeature("tag_id", 3, "\x07\x80\x01")))
	f.Add(rawExample(rawFeature("id", 1, "v"), rawFeature("frame_feature", 1, "\x00\x7c")))
	f.Add(rawExample(rawFeature("title", 1, "\xff")))
	f.Fuzz(func(t *testing.T, payload []byte) {
		o, err := video.OutlineExample(payload)
		v, parseErr := video.ParseExample(payload)
		var m *errs.Mismatch
		switch {
		case err != nil && (!errors.As(err, &m) || m.Expected == "" || m.Found == "" || errs.FieldOf(err) == ""):
			t.Fatalf("error without its parts: %v", err)
		case parseErr != nil:
			if err == nil || err.Error() != parseErr.Error() {
				t.Fatalf("outline says %v, parsing %v", err, parseErr)
			}
		case err != nil:
			if m.Expected != "finite numbers" {
				t.Fatalf("only the outline says %v", err)
			}
		case o.ID != v.ID || o.Frames != v.Frames.Count || o.FrameDim != v.Frames.Dim || o.Title != (v.Title != "") || o.Speech != (v.ASRText != "") || o.Tags != (len(v.TagIDs) > 0):
			t.Fatalf("outline %+v of %+v", o, v)
		}
	})
}
