package trainer

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/x448/float16"

	"videosim/shared/eval"
	"videosim/shared/model"
	"videosim/shared/testkit/tinybundle"
	"videosim/shared/video"
)

// scored is what a strict scorer reads from a submission.
type scored struct {
	ids  []string
	rows map[string][]float64
}

// readSubmission refuses whatever a careful scorer might: anything but one
// object on one ASCII line, an id twice, a row of another length, a number that
// is not finite or not one of half precision.
func readSubmission(data []byte) (scored, error) {
	s := scored{rows: map[string][]float64{}}
	if bytes.ContainsFunc(data, func(r rune) bool { return r < ' ' || r > '~' }) {
		return s, errors.New("not one line of ASCII")
	}
	if spaced := regexp.MustCompile(`[,:](?: {2}|[^ ])`).FindString(regexp.MustCompile(`"(?:[^"\\]|\\.)*"`).ReplaceAllString(string(data), `""`)); spaced != "" {
		return s, fmt.Errorf("a separator that Python does not write: %q", spaced)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return s, fmt.Errorf("begins with %v (%v), want an object", open, err)
	}
	for dec.More() {
		id, err := dec.Token()
		if err != nil {
			return s, err
		}
		var row []float64
		if err := dec.Decode(&row); err != nil {
			return s, fmt.Errorf("video %v: %w", id, err)
		}
		if err := s.add(id.(string), row); err != nil {
			return s, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return s, err
	}
	if rest, err := dec.Token(); !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("something behind the object: %v, %v", rest, err)
	}
	return s, nil
}

func (s *scored) add(id string, row []float64) error {
	if _, again := s.rows[id]; again {
		return fmt.Errorf("video %q twice", id)
	}
	if len(row) != 256 {
		return fmt.Errorf("video %q has %d numbers, want 256", id, len(row))
	}
	square := 0.0
	for i, v := range row {
		if float64(float16.Fromfloat32(float32(v)).Float32()) != v {
			return fmt.Errorf("video %q, number %d: %v is none of half precision", id, i, v)
		}
		square += v * v
	}
	if math.Abs(square-1) > 0.01 {
		return fmt.Errorf("video %q has length %v, want 1", id, math.Sqrt(square))
	}
	s.ids, s.rows[id] = append(s.ids, id), row
	return nil
}

// unzipSubmission returns the one file of a zip, as the challenge's scorer
// finds it.
func unzipSubmission(t *testing.T, path string) []byte {
	t.Helper()
	archive, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if len(archive.File) != 1 || archive.File[0].Name != "result/result.json" || archive.File[0].Method != zip.Deflate {
		t.Fatalf("the archive holds %+v, want result/result.json alone, deflated", archive.File)
	}
	if year := archive.File[0].Modified.Year(); year < 1980 {
		t.Errorf("a file of the year %d, which the format does not have", year)
	}
	f, err := archive.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f) // checks the checksum, too
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// oddVideos are videos as a test file may hold them, each with what is odd
// about it in its id.
func oddVideos(dim int) []video.Video {
	rng := rand.New(rand.NewPCG(3, 3))
	frames := func(n int) video.Frames {
		f := video.Frames{Encoding: video.F16, Dim: dim, Count: n}
		for range n * dim {
			bits := float16.Fromfloat32(float32(rng.NormFloat64())).Bits()
			f.Data = append(f.Data, byte(bits), byte(bits>>8))
		}
		return f
	}
	long := frames(40)
	first32 := long
	first32.Count, first32.Data = 32, long.Data[:2*32*dim]
	return []video.Video{
		{ID: "ordinary", Title: "小猫和小狗", ASRText: "你好", Frames: frames(16)},
		{ID: "repeated", Title: "第一", Frames: frames(3)},
		{ID: "no title", ASRText: "只有语音", Frames: frames(5)},
		{ID: "no speech", Title: "只有标题", Frames: frames(5)},
		{ID: "no text", Frames: frames(5)},
		{ID: "no frames", Title: "没有画面", ASRText: "没有"},
		{ID: "nothing"},
		{ID: "40 frames", Title: "很长", Frames: long},
		{ID: "its first 32", Title: "很长", Frames: first32},
		{ID: `a "quoted" \ id`, Title: "x", Frames: frames(1)},
		{ID: "视频🤣", Title: strings.Repeat("很长的标题", 60), ASRText: strings.Repeat("说", 500), Frames: frames(32)},
		{ID: "repeated", Title: "第二", Frames: frames(4)},
	}
}

func writeRecords(t *testing.T, path string, videos []video.Video) string {
	t.Helper()
	var b bytes.Buffer
	w := video.NewWriter(&b)
	for _, v := range videos {
		payload, err := video.AppendExample(nil, v)
		if err == nil {
			err = w.Write(payload)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSubmissionOfOddVideos(t *testing.T) {
	dir := t.TempDir()
	tinybundle.Write(t, filepath.Join(dir, "bundle"))
	cfg, err := model.Preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	videos := oddVideos(cfg.Video.FrameDim)
	files := []string{
		writeRecords(t, filepath.Join(dir, "b.tfrecords"), videos[:7]),
		writeRecords(t, filepath.Join(dir, "a.tfrecords"), videos[7:]), // in the order given, not by name
	}
	export := func(name string, batch int) string {
		out := filepath.Join(dir, name)
		n, err := Export(context.Background(), ExportConfig{
			Bundle: filepath.Join(dir, "bundle"), Data: files, Out: out, Engine: EngineConfig{Device: "cpu", Threads: 1, Batch: batch},
		})
		if err != nil || n != len(videos) {
			t.Fatalf("exported %d of %d videos: %v", n, len(videos), err)
		}
		return out
	}
	plain, err := os.ReadFile(export("result.json", 64))
	if err != nil {
		t.Fatal(err)
	}
	if zipped := unzipSubmission(t, export("result.zip", 64)); !bytes.Equal(zipped, plain) {
		t.Error("the zip holds another result")
	}
	got, err := readSubmission(plain)
	if err != nil {
		t.Fatal(err)
	}
	if want := idsInOrder(videos); !slices.Equal(got.ids, want) {
		t.Errorf("ids %q, want %q", got.ids, want)
	}
	same := func(a, b []float64) float64 {
		dot := 0.0
		for i := range a {
			dot += a[i] * b[i]
		}
		return dot
	}
	if c := same(got.rows["40 frames"], got.rows["its first 32"]); c < 0.9999 {
		t.Errorf("a video of 40 frames and its first 32 have cosine %v", c)
	}
	alone, err := os.ReadFile(export("alone.json", 1))
	if err != nil {
		t.Fatal(err)
	}
	one, err := readSubmission(alone)
	if err != nil {
		t.Fatal(err)
	}
	for id, row := range got.rows {
		if c := same(row, one.rows[id]); c < 0.9999 {
			t.Errorf("%s alone and in a batch have cosine %v", id, c)
		}
	}
	lastOf := slices.Clone(videos)
	lastOf[1] = lastOf[len(lastOf)-1] // the second "repeated" in the place of the first
	writeRecords(t, files[0], lastOf[:7])
	writeRecords(t, files[1], lastOf[7:len(lastOf)-1])
	videos = lastOf[:len(lastOf)-1]
	last, err := os.ReadFile(export("last.json", 64))
	if err != nil {
		t.Fatal(err)
	}
	want, err := readSubmission(last)
	if err != nil {
		t.Fatal(err)
	}
	if c := same(got.rows["repeated"], want.rows["repeated"]); c < 0.9999 {
		t.Errorf("a repeated id does not keep its last video: cosine %v", c)
	}
}

func idsInOrder(videos []video.Video) []string {
	var ids []string
	for _, v := range videos {
		if !slices.Contains(ids, v.ID) {
			ids = append(ids, v.ID)
		}
	}
	return ids
}

// The reader above is strict: each of these it refuses.
func TestTheScorerRefuses(t *testing.T) {
	row := make([]float64, 256)
	row[0] = 1
	var good bytes.Buffer
	if err := eval.WriteResult(&good, []string{"v"}, [][]float64{row}); err != nil {
		t.Fatal(err)
	}
	if _, err := readSubmission(good.Bytes()); err != nil {
		t.Fatal(err)
	}
	text := good.String()
	for name, bad := range map[string]string{
		"a list":                  "[" + text + "]",
		"two objects":             text + text,
		"a line end":              text + "\n",
		"an id twice":             strings.TrimSuffix(text, "}") + ", " + text[1:],
		"255 numbers":             strings.Replace(text, "1.0, ", "", 1),
		"NaN":                     strings.Replace(text, "1.0", "NaN", 1),
		"more precision":          strings.Replace(text, "1.0", "1.00001", 1),
		"not normalised":          strings.Replace(text, "1.0", "2.0", 1),
		"another separator":       strings.Replace(text, ", ", ",", 1),
		"an id that is not ASCII": strings.Replace(text, "v", "视", 1),
		"cut short":               text[:len(text)-1],
	} {
		if _, err := readSubmission([]byte(bad)); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}
