package trainer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"videosim/shared/errs"
)

// mistake is what one wrong line of label.tsv, put before the good ones, must
// give. line is where it is found, 0 for nothing wrong.
type mistake struct {
	name, text string
	line       int
	kind       string
	field      string
	expected   string
	found      string
}

const (
	threeFields = "id, id and label separated by tabs"
	plainText   = `text in UTF-8 with lines that end in \n or \r\n`
	anID        = "1 to 64 bytes of UTF-8"
	aLabel      = "a number from 0 to 1"
	aRecord     = "a video with a usable record"
)

func labelMistakes() []mistake {
	long := strings.Repeat("x", 2000)
	wide := func(s string) string { // UTF-16, little-endian
		var b strings.Builder
		for _, r := range s {
			b.WriteRune(r)
			b.WriteByte(0)
		}
		return b.String()
	}
	return []mistake{
		{"nothing", "", 0, "", "", "", ""},
		{"a byte order mark", "\ufeff", 0, "", "", "", ""},
		{"line ends of Windows", "p1\tp3\t0.5\r\n", 0, "", "", "", ""},
		{"empty lines", "\n\r\n\n", 0, "", "", "", ""},
		{"whole numbers and exponents", "p1\tp3\t1\np1\tp4\t5e-1\n", 0, "", "", "", ""},
		{"the pair in the other order", "p2\tp1\t0.1\n", 0, "", "", "", ""},

		{"a header", "id1\tid2\tlabel\n", 1, "label label", "label", aLabel, `"label"`},
		{"commas for tabs", "p1,p3,0.5\n", 1, "label line", "", threeFields, `1 fields in "p1,p3,0.5"`},
		{"semicolons for tabs", "p1;p3;0.5\n", 1, "label line", "", threeFields, `1 fields in "p1;p3;0.5"`},
		{"blanks for tabs", "p1 p3 0.5\n", 1, "label line", "", threeFields, `1 fields in "p1 p3 0.5"`},
		{"no label", "p1\tp3\n", 1, "label line", "", threeFields, `2 fields in "p1\tp3"`},
		{"one field", "p1\n", 1, "label line", "", threeFields, `1 fields in "p1"`},
		{"a fourth column", "p1\tp3\t0.5\tgood\n", 1, "label line", "", threeFields, `4 fields in "p1\tp3\t0.5\tgood"`},
		{"a tab at the end", "p1\tp3\t0.5\t\n", 1, "label line", "", threeFields, `4 fields in "p1\tp3\t0.5\t"`},
		{"two tabs", "p1\t\tp3\t0.5\n", 1, "label line", "", threeFields, `4 fields in "p1\t\tp3\t0.5"`},
		{"a comment", "# judged in May\n", 1, "label line", "", threeFields, `1 fields in "# judged in May"`},
		{"a line of blanks", "   \n", 1, "label line", "", threeFields, `1 fields in "   "`},
		{"a comma in the number", "p1\tp3\t0,5\n", 1, "label label", "label", aLabel, `"0,5"`},
		{"a blank before the label", "p1\tp3\t 0.5\n", 1, "label label", "label", aLabel, `" 0.5"`},
		{"a blank behind the label", "p1\tp3\t0.5 \n", 1, "label label", "label", aLabel, `"0.5 "`},
		{"an empty label", "p1\tp3\t\n", 1, "label label", "label", aLabel, `""`},
		{"a word for a label", "p1\tp3\tsame\n", 1, "label label", "label", aLabel, `"same"`},
		{"a percentage", "p1\tp3\t50%\n", 1, "label label", "label", aLabel, `"50%"`},
		{"a label above 1", "p1\tp3\t1.01\n", 1, "label label", "label", aLabel, `"1.01"`},
		{"a label of a scale to 5", "p1\tp3\t4\n", 1, "label label", "label", aLabel, `"4"`},
		{"a negative label", "p1\tp3\t-0.5\n", 1, "label label", "label", aLabel, `"-0.5"`},
		{"NaN", "p1\tp3\tNaN\n", 1, "label label", "label", aLabel, `"NaN"`},
		{"infinity", "p1\tp3\tinf\n", 1, "label label", "label", aLabel, `"inf"`},
		{"too large to be a number", "p1\tp3\t1e999\n", 1, "label label", "label", aLabel, `"1e999"`},
		{"a hexadecimal number", "p1\tp3\t0x1p-1\n", 1, "label label", "label", aLabel, `"0x1p-1"`},
		{"a quoted label", "p1\tp3\t\"0.5\"\n", 1, "label label", "label", aLabel, `"\"0.5\""`},
		{"digits of another script", "p1\tp3\t٠.٥\n", 1, "label label", "label", aLabel, `"٠.٥"`},
		{"label and id swapped", "0.5\tp1\tp3\n", 1, "label label", "label", aLabel, `"p3"`},
		{"no first id", "\tp3\t0.5\n", 1, "label id", "id 1", anID, `""`},
		{"no second id", "p1\t\t0.5\n", 1, "label id", "id 2", anID, `""`},
		{"an id too long", "p1\t" + long[:65] + "\t0.5\n", 1, "label id", "id 2", anID, fmt.Sprintf("%q… (65 bytes)", long[:40])},
		{"an id in Latin-1", "p1\tvid\xe9o\t0.5\n", 1, "label id", "id 2", anID, `"vid\xe9o"`},
		{"a quoted id", "\"p1\"\tp3\t0.5\n", 1, "label of a video without record", "id 1", aRecord, "none"},
		{"a blank behind an id", "p1\tp3 \t0.5\n", 1, "label of a video without record", "id 2", aRecord, "none"},
		{"an id nobody has", "p1\tzz\t0.5\n", 1, "label of a video without record", "id 2", aRecord, "none"},
		{"an id as a spreadsheet writes it", "2.3452E+18\tp3\t0.5\n", 1, "label of a video without record", "id 1", aRecord, "none"},
		{"a video with itself", "p1\tp1\t1\n", 1, "label of a video with itself", "id 2", "another video", "the same as id 1"},
		{"a pair twice", "p1\tp3\t0.5\np1\tp3\t0.50\n", 2, "label repeats a pair", "id 1, id 2", "every pair once", "the pair of line 1 with the same label"},
		{"a pair with two labels", "p1\tp3\t0.5\np1\tp3\t0.75\n", 2, "label contradicts an earlier one", "label", "0.5 as in line 1", "0.75, which counts"},
		{"a zero byte", "p1\tp\x003\t0.5\n", 1, "label line", "", plainText, `byte "\x00" in "p1\tp\x003\t0.5"`},
		{"line ends of old Macs", "p1\tp3\t0.5\rp1\tp4\t0.5\n", 1, "label line", "", plainText, `byte "\r" in "p1\tp3\t0.5\rp1\tp4\t0.5"`},
		{"a long line", "p1\tp3\t0.5" + long + "\n", 1, "label line", "", "at most 1024 bytes", "a longer line"},
		{"a line as long as a file", strings.Repeat(long, 2000) + "\n", 1, "label line", "", "at most 1024 bytes", "a longer line"},
		{"zero bytes at its beginning", "\x00\x00\x00\x00\n", 1, "label line", "", plainText, `byte "\x00" in "\x00\x00\x00\x00"`},
		{"UTF-16 without a mark", wide("p1\tp3\t0.5") + "\n", 1, "label line", "", plainText, `byte "\x00" in "p\x001\x00\t\x00p\x003\x00\t\x000\x00.\x005\x00"`},
	}
}

// Every mistake is fatal with strict, and otherwise noted once while the other
// lines are used.
func TestLabelMistakes(t *testing.T) {
	wrong := 0
	for _, m := range labelMistakes() {
		if m.line > 0 {
			wrong++
		}
		t.Run(m.name, func(t *testing.T) {
			d := newDataDir(t)
			d.labels = m.text + d.labels
			path := filepath.Join(d.dir, "label.tsv")

			_, err := d.open(true)
			place := fmt.Sprintf("%s: line %d", path, m.line)
			switch {
			case m.line == 0 && err != nil:
				t.Fatalf("strict: %v", err)
			case m.line == 0:
				return
			case err == nil || errs.KindOf(err) != errs.Invalid:
				t.Fatalf("strict: %v, want an error", err)
			}
			for _, part := range []string{place, m.field, ": expected " + m.expected + ", found " + m.found} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("strict: %v\nlacks %q", err, part)
				}
			}

			c, err := d.open(false)
			if err != nil {
				t.Fatalf("lenient: %v", err)
			}
			if n := len(c.split.Train) + len(c.split.HeldOut) + c.split.Crossing; n < 8 {
				t.Errorf("lenient: %d pairs are left, want all eight good ones", n)
			}
			checkOnly(t, &c.problems, m, path)
		})
	}
	if wrong < 40 {
		t.Errorf("%d kinds of mistakes, want at least 40", wrong)
	}
}

// checkOnly asserts that m is the only problem.
func checkOnly(t *testing.T, p *problems, m mistake, path string) {
	t.Helper()
	if p.count() != 1 {
		t.Fatalf("%d problems, want 1: %+v", p.count(), p.tallies)
	}
	x := p.tallies[0].Listed[0]
	if x.File != path || x.Line != m.line || x.Kind != m.kind || x.Field != m.field || x.Expected != m.expected || x.Found != m.found {
		t.Errorf("noted %+v\nwant %+v", x, m)
	}
}

// A file that is no text is one problem and leaves no label.
func TestLabelFileOfAnotherFormat(t *testing.T) {
	for name, c := range map[string]struct{ text, found string }{
		"UTF-16, little-endian": {"\xff\xfep\x001\x00", "UTF-16"},
		"UTF-16, big-endian":    {"\xfe\xff\x00p\x001", "UTF-16"},
		"UTF-32":                {"\xff\xfe\x00\x00p\x00\x00\x00", "UTF-32"},
		"gzip":                  {"\x1f\x8b\x08\x00rest", "a gzip archive"},
		"a spreadsheet":         {"PK\x03\x04rest", "a zip archive or a spreadsheet"},
	} {
		for _, strict := range []bool{true, false} {
			d := newDataDir(t)
			d.labels = c.text
			_, err := d.open(strict)
			want := fmt.Sprintf("label.tsv: line 1: expected UTF-8 text, found %s", c.found)
			if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, strict %v: %v", name, strict, err)
			}
		}
	}
}

// A file without a single line end costs no more memory than a line.
func TestLabelFileWithoutLineEnds(t *testing.T) {
	d := newDataDir(t)
	good := d.labels
	d.labels = strings.Repeat("p1\tp2\t0.5 ", 3_000_000)
	var wrong problems
	d.write()
	before := heapNow()
	pairs, err := readLabels(filepath.Join(d.dir, "label.tsv"), &wrong)
	if err != nil || len(pairs) != 0 || wrong.count() != 1 {
		t.Fatalf("%d pairs, %d problems, %v", len(pairs), wrong.count(), err)
	}
	if grown := allocatedSince(before); grown > 1<<20 {
		t.Errorf("%d bytes allocated", grown)
	}
	d.labels = d.labels + "\n" + good
	if c := d.mustOpen(); c.problems.count() != 1 {
		t.Errorf("problems %+v", c.problems.tallies)
	}
}
