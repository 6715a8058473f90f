package eval_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"videosim/shared/errs"
	"videosim/shared/eval"
)

// Whatever the bytes: no panic, every line is a pair, a mistake with its parts,
// or empty, and a pair that is written again reads the same.
func FuzzPairReader(f *testing.F) {
	for _, s := range []string{
		"", "1\t2\t0.5\n", "\ufeff1\t2\t0.5\r\n\n\r\na\tb\n视频\t2\t1e-05", "1,2,0.5", "a\tb\t0.5\tx\n\t\t\n",
		"\xff\xfe1\x00\t\x00", "\x1f\x8b\x08", "a\tb\tNaN\n", "a\x00\tb\t1\n", "a\tb\t1\ra\tc\t0\r",
		strings.Repeat("x", 1100) + "\n1\t2\t1", "1\t" + strings.Repeat("y", 65) + "\t-0",
	} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, needLabel bool) {
		r := eval.NewPairReader(bytes.NewReader(data), eval.PairLimits{NeedLabel: needLabel})
		lines := bytes.Count(data, []byte("\n")) + 1
		last := 0
		for {
			p, err := r.Next()
			if err == io.EOF {
				return
			}
			if r.Line() <= last || r.Line() > lines {
				t.Fatalf("line %d after %d, of %d", r.Line(), last, lines)
			}
			last = r.Line()
			if err != nil {
				var m *errs.Mismatch
				if errs.KindOf(err) != errs.Invalid || !errors.As(err, &m) || m.Expected == "" || m.Found == "" ||
					!strings.HasPrefix(errs.FieldOf(err), fmt.Sprintf("line %d", last)) || !utf8.ValidString(err.Error()) {
					t.Fatalf("line %d: %v", last, err)
				}
				continue
			}
			text := p.A + "\t" + p.B
			if p.HasLabel {
				text += fmt.Sprintf("\t%g", p.Label)
			}
			again, err := eval.ReadPairs(strings.NewReader("\n"+text), eval.PairLimits{NeedLabel: needLabel})
			if err != nil || len(again) != 1 || again[0] != p {
				t.Fatalf("%q reads again as %v %v", text, again, err)
			}
		}
	})
}
