package trainer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// rawPayload is a tf.Example of features whose list, of field number kind,
// holds one value each.
func rawPayload(features ...[]byte) []byte {
	var all []byte
	for _, f := range features {
		all = append(all, field(1, f)...)
	}
	return field(1, all)
}

func rawFeature(key string, kind protowire.Number, values ...string) []byte {
	var list []byte
	for _, v := range values {
		list = append(list, field(1, []byte(v))...)
	}
	return slices.Concat(field(1, []byte(key)), field(2, field(kind, list)))
}

func field(num protowire.Number, msg []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), msg)
}

// Every mistake in a record, put between good ones, is fatal with strict, and
// otherwise noted while the others are used.
func TestRecordMistakes(t *testing.T) {
	const bytesOfText = "1 to 64 bytes of UTF-8"
	id := rawFeature("id", 1, "bad")
	record := func(p []byte) []byte { return video.AppendRecord(nil, p) }
	good := func(change func(*video.Video)) []byte {
		v := video.Video{ID: "bad", Title: "title", Frames: testFrames(4)}
		change(&v)
		p, err := video.AppendExample(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		return record(p)
	}
	broken := func(at int) []byte { b := good(func(*video.Video) {}); b[(at+len(b))%len(b)] ^= 1; return b }
	for _, c := range []struct {
		name                                string
		record                              []byte
		kind, field, expected, found, video string
		used                                bool
		lost                                bool // bytes are counted as passed over
	}{
		{name: "id missing", record: record(rawPayload(rawFeature("title", 1, "t"))), kind: "record id", field: "id", expected: bytesOfText, found: "none"},
		{name: "id empty", record: record(rawPayload(rawFeature("id", 1, ""))), kind: "record id", field: "id", expected: bytesOfText, found: "none"},
		{name: "id too long", record: record(rawPayload(rawFeature("id", 1, strings.Repeat("x", 65)))), kind: "record id", field: "id", expected: bytesOfText, found: "65 bytes"},
		{name: "id not UTF-8", record: record(rawPayload(rawFeature("id", 1, "\xff"))), kind: "record id", field: "id", expected: "UTF-8", found: `"\xff"`},
		{name: "id a number", record: record(rawPayload(rawFeature("id", 3))), kind: "record id", field: "id", expected: "a list of bytes", found: "a list of integers"},
		{name: "title not UTF-8", record: record(rawPayload(id, rawFeature("title", 1, "caf\xe9"))), kind: "record title", field: "title", expected: "UTF-8", found: `"caf\xe9"`},
		{name: "speech not UTF-8", record: record(rawPayload(id, rawFeature("asr_text", 1, "\xc3"))), kind: "record asr_text", field: "asr_text", expected: "UTF-8", found: `"\xc3"`},
		{name: "tags as text", record: record(rawPayload(id, rawFeature("tag_id", 1, "food"))), kind: "record tag_id", field: "tag_id", expected: "a list of integers", found: "a list of bytes"},
		{name: "tags as floats", record: record(rawPayload(id, rawFeature("tag_id", 2))), kind: "record tag_id", field: "tag_id", expected: "a list of integers", found: "a list of floats"},
		{name: "category as text", record: record(rawPayload(id, rawFeature("category_id", 1, "x"))), kind: "record category_id", field: "category_id", expected: "a list of integers", found: "a list of bytes"},
		{name: "frames as floats", record: record(rawPayload(id, rawFeature("frame_feature", 2))), kind: "record frame_feature", field: "frame_feature", expected: "a list of bytes", found: "a list of floats"},
		{name: "frames of an odd size", record: record(rawPayload(id, rawFeature("frame_feature", 1, "abc"))), kind: "record frame_feature", field: "frame_feature", expected: "a number of float16 in frame 0", found: "3 bytes"},
		{name: "frames of unequal size", record: record(rawPayload(id, rawFeature("frame_feature", 1, "ab", "abcd"))), kind: "record frame_feature", field: "frame_feature", expected: "2 bytes in frame 1 as in frame 0", found: "4"},
		{name: "NaN in a frame", record: record(rawPayload(id, rawFeature("frame_feature", 1, "\x00\x3c\x00\x7e"))), kind: "record frame_feature", field: "frame_feature", expected: "finite numbers", found: "NaN or infinity as value 1 of frame 0"},
		{name: "infinity in a frame", record: record(rawPayload(id, rawFeature("frame_feature", 1, "\x00\xfc\x00\x3c"))), kind: "record frame_feature", field: "frame_feature", expected: "finite numbers", found: "NaN or infinity as value 0 of frame 0"},
		{name: "frames of another width", record: good(func(v *video.Video) { v.Frames = testFrames(6) }), kind: "record of another frame width", field: "frame_feature", expected: "frames of 4 values as in most videos", found: "6", video: "bad"},
		{name: "no frames", record: good(func(v *video.Video) { v.Frames = video.Frames{} }), kind: "record without frames", field: "frame_feature", expected: "a value", found: "none", video: "bad", used: true},
		{name: "no title", record: good(func(v *video.Video) { v.Title = "" }), kind: "record without title", field: "title", expected: "a value", found: "none", video: "bad", used: true},
		{name: "neither title nor frames", record: record(rawPayload(id)), kind: "record without title and frames", field: "title, frame_feature", expected: "a value", found: "neither", video: "bad", used: true},
		{name: "an id again", record: good(func(v *video.Video) { v.ID = "a3" }), kind: "record repeats an id", field: "id", expected: "every id once", found: "a later record with the same, which counts", video: "a3"},
		{name: "no protobuf", record: record([]byte("\xff\xff\xff")), kind: "record tf.Example", field: "tf.Example", expected: "protobuf in its schema", found: "unexpected EOF", lost: true},
		{name: "a flipped bit in the payload", record: broken(30), kind: "record payload", field: "record payload", lost: true},
		{name: "a flipped bit in the checksum", record: broken(-1), kind: "record payload", field: "record payload", lost: true},
		{name: "a flipped bit in the length", record: broken(0), kind: "record length", field: "record length", lost: true},
		{name: "bytes missing", record: broken(30)[:60], kind: "record payload", field: "record payload", lost: true},
		{name: "text between records", record: []byte("not a record"), kind: "record length", field: "record length", lost: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDataDir(t)
			first := d.payloadLength(0)
			d.pointwise = slices.Concat(d.pointwise[:first], c.record, d.pointwise[first:])
			path := filepath.Join(d.dir, "pointwise", "a.tfrecords")

			_, err := d.open(true)
			place := fmt.Sprintf("%s: record 1 at byte %d", path, first)
			if err == nil || !strings.Contains(err.Error(), place) || !strings.Contains(err.Error(), c.field+": expected "+c.expected) || !strings.Contains(err.Error(), ", found "+c.found) {
				t.Errorf("strict: %v", err)
			}
			if kind := errs.KindOf(err); kind != errs.Invalid && kind != errs.Corrupt {
				t.Errorf("strict: kind %s", kind)
			}

			open, err := d.open(false)
			if err != nil {
				t.Fatalf("lenient: %v", err)
			}
			if len(open.problems.tallies) != 1 || open.problems.count() != 1 {
				t.Fatalf("problems %+v", open.problems.tallies)
			}
			x := open.problems.tallies[0].Listed[0]
			if x.Kind != c.kind || x.File != path || x.Record != 1 || x.Offset != int64(first) || x.ID != c.video || x.Field != c.field || x.Used != c.used ||
				c.expected != "" && (x.Expected != c.expected || x.Found != c.found) || x.Expected == "" || x.Found == "" || c.lost && x.Lost != int64(len(c.record)) {
				t.Errorf("noted %+v", x)
			}
			ids := allPretrainIDs(open)
			for _, id := range []string{"a1", "a2", "a3", "a4"} {
				if !slices.Contains(ids, id) {
					t.Errorf("%s is lost: %v", id, ids)
				}
			}
			if slices.Contains(ids, "bad") != c.used {
				t.Errorf("the record is in use: %v, want %v", !c.used, c.used)
			}
		})
	}
}

// payloadLength is the size of the first pointwise record, framing included.
func (d *dataDir) payloadLength(int) int {
	return len(video.AppendRecord(nil, d.payload(video.Video{ID: "a1", Title: "title", TagIDs: []int64{5}, Frames: testFrames(4)})))
}

// With several files at once strict names the first problem of the first file.
func TestStrictNamesTheFirstProblem(t *testing.T) {
	d := newDataDir(t)
	bad := video.AppendRecord(nil, []byte("\xff"))
	d.pointwise = slices.Concat(d.pointwise, bad)
	d.pairwise = slices.Concat(bad, d.pairwise)
	for range 10 {
		if _, err := d.open(true); err == nil || !strings.Contains(err.Error(), "a.tfrecords: record 4 at") {
			t.Fatalf("strict: %v", err)
		}
	}
}

// The width of most videos is the right one, wherever the others stand.
func TestMostVideosDecideTheFrameWidth(t *testing.T) {
	d := newDataDir(t)
	odd := video.AppendRecord(nil, d.payload(video.Video{ID: "odd", Title: "t", Frames: testFrames(9)}))
	d.pointwise = slices.Concat(odd, d.pointwise)
	if c := d.mustOpen(); c.frameDim != 4 || c.problems.count() != 1 || c.problems.tallies[0].Listed[0].Record != 0 {
		t.Errorf("width %d, problems %+v", c.frameDim, c.problems.tallies)
	}
}

// The list is capped and says how many more there are; nothing breaks a line.
func TestProblemsAreListedUpToACap(t *testing.T) {
	d := newDataDir(t)
	d.labels += strings.Repeat("p1\tzz\t0.5 x\n", 250) + "tab\rreturn\n"
	for i := range 300 {
		d.labels += fmt.Sprintf("p1\tunknown-%d\t0.5\n", i)
	}
	c := d.mustOpen()
	path := filepath.Join(d.dir, "problems.tsv")
	if err := c.problems.write(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if want := 1 + 2*(maxListed+1) + 1; len(lines) != want {
		t.Fatalf("%d lines, want %d", len(lines), want)
	}
	for _, line := range lines {
		if n := strings.Count(line, "\t"); n != strings.Count(problemColumns, "\t") {
			t.Errorf("%d tabs in %q", n, line)
		}
	}
	var shown bytes.Buffer
	if err := c.problems.show(&shown, path); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"551 problems with the data (listed in " + path, "250  label label, left out", "300  label of a video without record, left out", "line 9, label: expected a number from 0 to 1"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("the list lacks %q:\n%s", want, shown.String())
		}
	}
}

// Nothing is shown and the list is empty but for its columns where all is well.
func TestNoProblems(t *testing.T) {
	c := newDataDir(t).mustOpen()
	var shown bytes.Buffer
	if err := c.problems.show(&shown, ""); err != nil || shown.Len() > 0 || c.problems.count() != 0 {
		t.Errorf("%q %v %+v", shown.String(), err, c.problems.tallies)
	}
}

// Looking up single videos passes over damage, too, and reads pointwise files
// only where it has to.
func TestFindVideos(t *testing.T) {
	d := newDataDir(t)
	d.pairwise[len(d.pairwise)-30] ^= 1 // the last, p16
	d.pointwise = slices.Concat([]byte("noise"), d.pointwise)
	d.write()
	for _, c := range []struct {
		ids, known []string
		problems   int
	}{
		{[]string{"p2", "p1"}, []string{"p2", "p1"}, 1},
		{[]string{"p1", "a4", "nobody"}, []string{"p1", "a4"}, 2},
		{[]string{"p16"}, nil, 2},
	} {
		l, err := findVideos(context.Background(), d.dir, c.ids)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if got := l.known(c.ids); !slices.Equal(got, c.known) || l.problems.count() != c.problems {
			t.Errorf("%v: known %v, %d problems, want %v, %d", c.ids, got, l.problems.count(), c.known, c.problems)
		}
		for _, id := range c.known {
			if v, err := l.video(id); err != nil || v.ID != id {
				t.Errorf("%s: %q %v", id, v.ID, err)
			}
		}
		if _, err := l.video("nobody"); errs.KindOf(err) != errs.NotFound {
			t.Errorf("an unknown id: %v", err)
		}
	}
}
