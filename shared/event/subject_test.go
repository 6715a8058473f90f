package event

import (
	"strings"
	"testing"

	"videosim/shared/errs"
)

func TestSubjects(t *testing.T) {
	for id, subject := range map[string]string{
		"7241":                  "videos.7241",
		"视频":                    "videos.视频",
		"a-b_c":                 "videos.a-b_c",
		"a~b":                   "videos.a~b",
		"~a":                    "videos.~fmE",
		"a.b":                   "videos.~YS5i",
		"a b":                   "videos.~YSBi",
		"a\u3000b":              "videos.~YeOAgGI",
		"*":                     "videos.~Kg",
		">":                     "videos.~Pg",
		"a\x01b":                "videos.~YQFi",
		"\u0085":                "videos.~woU",
		strings.Repeat("x", 64): "videos." + strings.Repeat("x", 64),
	} {
		if got := VideoSubject(id); got != subject {
			t.Errorf("subject of %q is %q, expected %q", id, got, subject)
		}
		for _, s := range []string{VideoSubject(id), EmbeddingSubject("0123456789ab", id), DeadSubject(VideoSubject(id)), DeadSubject(EmbeddingSubject("0123456789ab", id))} {
			if back, err := IDFromSubject(s); err != nil || back != id {
				t.Errorf("id of %q is %q, %v: expected %q", s, back, err, id)
			}
		}
	}
}

func TestSubjectsThatAreNone(t *testing.T) {
	for _, subject := range []string{
		"", "videos", "videos.", "other.a", "videos.~", "videos.~!", "videos.a.b", "embeddings.fp", "embeddings.a",
		"videos.~YWJj", // "abc" needs no encoding: it would be a second subject of one video
		"videos.~/w",   // not UTF-8
		"videos.~YQBi", // "a\x00b"
		"videos." + strings.Repeat("x", 65),
	} {
		if id, err := IDFromSubject(subject); errs.KindOf(err) != errs.Invalid {
			t.Errorf("id of %q is %q, %v: expected an error", subject, id, err)
		}
	}
}

func FuzzSubject(f *testing.F) {
	for _, id := range []string{"a", "~", "a.b", "视频", "\xff", " "} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if ValidateID(id) != nil {
			return
		}
		subject := VideoSubject(id)
		if strings.Count(subject, ".") != 1 || strings.ContainsAny(subject, " *>\t\r\n\x00") {
			t.Fatalf("%q is no literal subject of two tokens", subject)
		}
		if back, err := IDFromSubject(subject); err != nil || back != id {
			t.Fatalf("id of %q is %q, %v: expected %q", subject, back, err, id)
		}
	})
}
