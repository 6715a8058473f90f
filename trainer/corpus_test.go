package trainer

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// dataDir is a data folder that a test changes before it opens it: videos a1…
// in pointwise/, p1… in pairwise/, pairs of the latter.
type dataDir struct {
	*testing.T
	dir                 string
	pointwise, pairwise []byte
	labels, tags        string
}

func newDataDir(t *testing.T) *dataDir {
	d := &dataDir{T: t, dir: t.TempDir(), tags: "7\n5\n"}
	for i := range 4 {
		d.pointwise = video.AppendRecord(d.pointwise, d.payload(video.Video{ID: fmt.Sprint("a", i+1), Title: "title", TagIDs: []int64{5}, Frames: testFrames(4)}))
	}
	for i := range 16 {
		d.pairwise = video.AppendRecord(d.pairwise, d.payload(video.Video{ID: fmt.Sprint("p", i+1), Title: "title", Frames: testFrames(4)}))
	}
	for i := 1; i < 16; i += 2 {
		d.labels += fmt.Sprintf("p%d\tp%d\t0.%d\n", i, i+1, i%10)
	}
	return d
}

// testFrames are two frames of width ones.
func testFrames(width int) video.Frames {
	f := video.Frames{Dim: width, Count: 2}
	for range 2 * width {
		f.Data = binary.LittleEndian.AppendUint16(f.Data, 0x3c00)
	}
	return f
}

func (d *dataDir) payload(v video.Video) []byte {
	p, err := video.AppendExample(nil, v)
	if err != nil {
		d.Fatal(err)
	}
	return p
}

func (d *dataDir) write() {
	for name, data := range map[string]string{
		"pointwise/a.tfrecords": string(d.pointwise), "pairwise/p.tfrecords": string(d.pairwise), "label.tsv": d.labels, "tag_list.txt": d.tags,
	} {
		path := filepath.Join(d.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			d.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			d.Fatal(err)
		}
	}
}

func (d *dataDir) config(strict bool) TrainConfig {
	return TrainConfig{Data: d.dir, Out: filepath.Join(d.dir, "bundle"), Preset: "tiny", HeldOut: 0.45, Seed: 1, Strict: strict}.withPreset()
}

// open writes the folder and opens it.
func (d *dataDir) open(strict bool) (*corpus, error) {
	d.write()
	c, err := openCorpus(context.Background(), d.config(strict))
	if err == nil {
		d.Cleanup(func() { c.Close() })
	}
	return c, err
}

func (d *dataDir) mustOpen() *corpus {
	d.Helper()
	c, err := d.open(false)
	if err != nil {
		d.Fatal(err)
	}
	return c
}

func allPretrainIDs(c *corpus) []string {
	items := make([]int, c.pretrainCount())
	for i := range items {
		items[i] = i
	}
	return c.pretrainIDs(items)
}

// Of several records with one id the last counts, across files, too, and each
// id is learned from once.
func TestLastRecordOfAnIDCounts(t *testing.T) {
	d := newDataDir(t)
	again := func(id, title string) []byte {
		return video.AppendRecord(nil, d.payload(video.Video{ID: id, Title: title, Frames: testFrames(4)}))
	}
	d.pointwise = slices.Concat(d.pointwise, again("a2", "second"), again("p1", "too early"))
	d.pairwise = slices.Concat(again("a3", "moved"), d.pairwise, again("p2", "second"))
	c := d.mustOpen()
	if c.videos() != 20 {
		t.Errorf("%d videos, want 20", c.videos())
	}
	ids := allPretrainIDs(c)
	sorted := slices.Sorted(slices.Values(ids))
	if len(slices.Compact(sorted)) != len(ids) {
		t.Errorf("pretraining ids repeat: %v", ids)
	}
	videos, err := c.pretrainVideos([]int{slices.Index(ids, "a2"), slices.Index(ids, "a3")})
	if err != nil || videos[0].Title != "second" || videos[1].Title != "moved" {
		t.Errorf("pretraining reads %+v %v", videos, err)
	}
	videos, err = c.read([]string{"p1", "p2"})
	if err != nil || videos[0].Title != "title" || videos[1].Title != "second" {
		t.Errorf("pairs read %q %q %v", videos[0].Title, videos[1].Title, err)
	}
	if got := c.problems.tallies; len(got) != 1 || got[0].Kind != "record repeats an id" || got[0].Count != 4 || got[0].Listed[0].ID != "a2" || got[0].Listed[0].Record != 1 {
		t.Errorf("problems %+v", got)
	}
}

// No held-out video is pretrained on, and with preset base no judged one is.
func TestPretrainingLeavesOutHeldOutVideos(t *testing.T) {
	d := newDataDir(t)
	c := d.mustOpen()
	held := pairIDs(c.split.HeldOut)
	ids := allPretrainIDs(c)
	if len(ids)+len(held) != 20 || len(held) == 0 {
		t.Errorf("%d pretraining and %d held-out videos", len(ids), len(held))
	}
	for _, id := range held {
		if slices.Contains(ids, id) {
			t.Errorf("%s is held out and pretrained on", id)
		}
	}
	cfg := d.config(false)
	cfg.Preset = "base"
	b, err := openCorpus(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got := allPretrainIDs(b); !slices.Equal(got, []string{"a1", "a2", "a3", "a4"}) {
		t.Errorf("preset base pretrains on %v", got)
	}
}

// A second start reads no record file, unless one has changed or its sidecar is
// damaged; the outcome is the same.
func TestSidecarsAreReused(t *testing.T) {
	d := newDataDir(t)
	d.pairwise[len(d.pairwise)/2] ^= 1 // a problem, which must be remembered
	first := d.mustOpen()
	want := fmt.Sprint(allPretrainIDs(first), first.problems.tallies, first.digests, first.split.HeldOut)
	sidecars, err := filepath.Glob(filepath.Join(d.config(false).Work, "records", "*.sidecar"))
	if err != nil || len(sidecars) != 2 {
		t.Fatalf("sidecars %v %v", sidecars, err)
	}
	written := func() (times []string) {
		for _, path := range sidecars {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, info.ModTime().String())
		}
		return times
	}
	open := func() *corpus {
		t.Helper()
		c, err := openCorpus(context.Background(), d.config(false))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := fmt.Sprint(allPretrainIDs(c), c.problems.tallies, c.digests, c.split.HeldOut); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		return c
	}
	before := written()
	if open(); !slices.Equal(written(), before) {
		t.Error("the second start scanned again")
	}
	good, err := os.ReadFile(sidecars[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"a flipped bit": append(append(slices.Clone(good[:60]), good[60]^1), good[61:]...), "cut": good[:len(good)-30], "empty": nil, "doubled": slices.Concat(good, good),
	} {
		if err := os.WriteFile(sidecars[0], data, 0o644); err != nil {
			t.Fatal(err)
		}
		open()
		if now, err := os.ReadFile(sidecars[0]); err != nil || !slices.Equal(now, good) {
			t.Errorf("%s: the sidecar was not made anew (%v)", name, err)
		}
	}
	d.pointwise = video.AppendRecord(d.pointwise, d.payload(video.Video{ID: "new", Title: "t"}))
	if c := d.mustOpen(); c.videos() != first.videos()+1 {
		t.Errorf("%d videos after one was added to %d", c.videos(), first.videos())
	}
}

func TestCorpusNeedsItsFiles(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*dataDir)
		remove string
		kind   errs.Kind
		says   string
	}{
		"no tag list":          {func(*dataDir) {}, "tag_list.txt", errs.NotFound, "tag_list.txt: expected the ids of the tags that pretraining learns, a line each, found no such file"},
		"no labels":            {func(*dataDir) {}, "label.tsv", errs.NotFound, "label.tsv: expected judged pairs"},
		"no record files":      {func(*dataDir) {}, "p*wise", errs.NotFound, "no records in pointwise/*.tfrecords"},
		"an empty tag list":    {func(d *dataDir) { d.tags = "\n" }, "", errs.Invalid, "expected tag ids, a line each, found none"},
		"no tag in it":         {func(d *dataDir) { d.tags = "food\n" }, "", errs.Invalid, `the first: ` + "DIR/tag_list.txt: line 1, tag id: expected a whole number, found \"food\""},
		"no usable label":      {func(d *dataDir) { d.labels = "p1,p2,0.5\n" }, "", errs.Invalid, "1 problems with the data, the first: DIR/label.tsv: line 1: expected id, id and label separated by tabs, found 1 fields in \"p1,p2,0.5\""},
		"no usable record":     {func(d *dataDir) { d.pairwise, d.pointwise = []byte("noise"), nil }, "", errs.Invalid, "p.tfrecords: record 0 at byte 0, record header: expected 16 bytes, found the end of the file after 5"},
		"no frames anywhere":   {func(d *dataDir) { withoutFrames(d) }, "", errs.Invalid, "no video has frames"},
		"no video to pretrain": {func(d *dataDir) { d.pointwise = nil }, "", errs.Invalid, "tag pretraining has 0 videos, expected at least 2"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDataDir(t)
			c.change(d)
			d.write()
			matches, err := filepath.Glob(filepath.Join(d.dir, c.remove))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range matches {
				if c.remove != "" {
					if err := os.RemoveAll(path); err != nil {
						t.Fatal(err)
					}
				}
			}
			cfg := d.config(false)
			cfg.Preset = "base"
			_, err = openCorpus(context.Background(), cfg)
			if want := strings.ReplaceAll(c.says, "DIR", d.dir); err == nil || errs.KindOf(err) != c.kind || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v\nwant %v: …%s", err, c.kind, want)
			}
		})
	}
}

func withoutFrames(d *dataDir) {
	d.pointwise, d.pairwise = nil, nil
	for i := range 16 {
		d.pairwise = video.AppendRecord(d.pairwise, d.payload(video.Video{ID: fmt.Sprint("p", i+1), Title: "title"}))
		d.pointwise = video.AppendRecord(d.pointwise, d.payload(video.Video{ID: fmt.Sprint("a", i+1), Title: "title"}))
	}
}
