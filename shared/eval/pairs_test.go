package eval_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"videosim/shared/errs"
	"videosim/shared/eval"
)

func TestReadPairs(t *testing.T) {
	const text = "\ufeff1\t2\t0.5\r\n\n\r\na\tb\n视频\t2\t1e-05"
	want := []eval.Pair{
		{A: "1", B: "2", Label: 0.5, HasLabel: true},
		{A: "a", B: "b"},
		{A: "视频", B: "2", Label: 1e-05, HasLabel: true},
	}
	for name, r := range map[string]io.Reader{
		"at once": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)),
	} {
		got, err := eval.ReadPairs(r, eval.PairLimits{})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

// TestBadLines: each complaint names the line, the field, what was expected
// and what was found.
func TestBadLines(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, c := range []struct {
		name, text, field, message string
		limits                     eval.PairLimits
	}{
		{"one field", "1\t2\t0\n3\n", "line 2", `expected id, id and an optional label separated by tabs, found 1 fields in "3"`, eval.PairLimits{}},
		{"four fields", "1\t2\t0\tx", "line 1", "found 4 fields", eval.PairLimits{}},
		{"blanks for tabs", "1 2 0.5", "line 1", `found 1 fields in "1 2 0.5"`, eval.PairLimits{}},
		{"label needed", "1\t2", "line 1", "expected id, id and label", eval.PairLimits{NeedLabel: true}},
		{"header line", "id1\tid2\tlabel", "line 1, label", `expected a number from 0 to 1, found "label"`, eval.PairLimits{}},
		{"label above 1", "\n1\t2\t1.5", "line 2, label", `found "1.5"`, eval.PairLimits{}},
		{"negative label", "1\t2\t-0.1", "line 1, label", `found "-0.1"`, eval.PairLimits{}},
		{"NaN", "1\t2\tNaN", "line 1, label", `found "NaN"`, eval.PairLimits{}},
		{"infinite", "1\t2\t+Inf", "line 1, label", "expected a number", eval.PairLimits{}},
		{"hexadecimal", "1\t2\t0x1p-1", "line 1, label", "expected a number", eval.PairLimits{}},
		{"label with blank", "1\t2\t0.5 ", "line 1, label", `found "0.5 "`, eval.PairLimits{}},
		{"empty label", "1\t2\t", "line 1, label", `found ""`, eval.PairLimits{}},
		{"empty id", "\t2\t0.5", "line 1, id 1", `expected 1 to 64 bytes of UTF-8, found ""`, eval.PairLimits{}},
		{"long id", "1\t" + long[:65], "line 1, id 2", "(65 bytes)", eval.PairLimits{}},
		{"not UTF-8", "1\t\xff", "line 1, id 2", `found "\xff"`, eval.PairLimits{}},
		{"long line", "1\t2\n" + long + "\n", "line 2", "expected at most 1024 bytes", eval.PairLimits{}},
		{"just too long", strings.Repeat("x", 1025), "line 1", "expected at most 1024 bytes", eval.PairLimits{}},
		{"long last line", long, "line 1", "expected at most 100 bytes", eval.PairLimits{MaxLineBytes: 100}},
		{"too many pairs", "1\t2\n1\t3\n1\t4\n", "line 3", "expected at most 2 pairs", eval.PairLimits{MaxPairs: 2}},
	} {
		_, err := eval.ReadPairs(strings.NewReader(c.text), c.limits)
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		if errs.KindOf(err) != errs.Invalid || errs.FieldOf(err) != c.field || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: kind %v, field %q, %q; want field %q, ...%q...", c.name, errs.KindOf(err), errs.FieldOf(err), err, c.field, c.message)
		}
	}
}

// TestReadingGoesOn: a caller that reports line by line passes over bad ones.
func TestReadingGoesOn(t *testing.T) {
	r := eval.NewPairReader(strings.NewReader("bad\n"+strings.Repeat("x", 5000)+"\n1\t2\n"), eval.PairLimits{})
	for range 2 {
		if _, err := r.Next(); errs.KindOf(err) != errs.Invalid {
			t.Fatalf("line %d: %v", r.Line(), err)
		}
	}
	pair, err := r.Next()
	if err != nil || pair.A != "1" || r.Line() != 3 {
		t.Fatalf("line %d: %v %v", r.Line(), pair, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatalf("after the last line: %v", err)
	}
}

func TestReadErrorIsPassedOn(t *testing.T) {
	broken := errors.New("cable cut")
	r := io.MultiReader(strings.NewReader("1\t2\t0.5\n1\t"), iotest.ErrReader(broken))
	if _, err := eval.ReadPairs(r, eval.PairLimits{}); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
}

func BenchmarkReadPairs(b *testing.B) {
	text := strings.Repeat("1000000779811782\t1000000661232444\t0.65\n", 67_899)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := eval.ReadPairs(strings.NewReader(text), eval.PairLimits{}); err != nil {
			b.Fatal(err)
		}
	}
}
