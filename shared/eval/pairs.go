package eval

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"videosim/shared/errs"
)

// Pair is two videos and, where one is known, a person's judgement of how
// alike they are, from 0 to 1.
type Pair struct {
	A, B     string
	Label    float64
	HasLabel bool
}

// PairLimits bounds what a PairReader accepts. A zero field has its default.
type PairLimits struct {
	// MaxLineBytes is the longest line without its end. Default 1024: two ids
	// of at most 64 bytes, a number, and room for columns nobody reads.
	MaxLineBytes int
	// MaxPairs bounds what ReadPairs keeps in memory (about 100 bytes a pair).
	// Default 5,000,000. Next has no such bound.
	MaxPairs int
	// NeedLabel refuses lines without a third field.
	NeedLabel bool
}

const (
	defaultMaxLineBytes = 1024
	defaultMaxPairs     = 5_000_000
	// maxIDBytes is the longest id that the wire contract allows.
	maxIDBytes = 64
)

// PairReader reads pairs from lines of tab-separated fields: id, id and an
// optional label. Lines end in \n or \r\n, the last may lack it; empty lines
// and a byte order mark at the start are passed over.
type PairReader struct {
	lines  *bufio.Reader
	limits PairLimits
	line   int
	ended  bool // nothing behind this line can be read
}

// NewPairReader reads from r as it comes; nothing but one line is kept.
func NewPairReader(r io.Reader, limits PairLimits) *PairReader {
	if limits.MaxLineBytes <= 0 {
		limits.MaxLineBytes = defaultMaxLineBytes
	}
	if limits.MaxPairs <= 0 {
		limits.MaxPairs = defaultMaxPairs
	}
	// Room for the longest line, its end and a byte order mark.
	return &PairReader{lines: bufio.NewReaderSize(r, limits.MaxLineBytes+len("\r\n")+len(byteOrderMark)), limits: limits}
}

// Line is the number of the line that Next read last, from 1.
func (p *PairReader) Line() int { return p.line }

// Next returns the next pair, and io.EOF after the last. A line that is no
// pair is errs.Invalid: its field names line and field, an errs.Mismatch in it
// says what was expected and what was found, and reading may go on with the
// next line. A file that is no UTF-8 text at all is one such error, the last.
func (p *PairReader) Next() (Pair, error) {
	for !p.ended {
		line, err := p.readLine()
		if err != nil {
			return Pair{}, err
		}
		if len(line) > 0 {
			return p.parse(string(line))
		}
	}
	return Pair{}, io.EOF
}

const byteOrderMark = "\xef\xbb\xbf"

// foreign are the first bytes of files that people take for text.
var foreign = []struct{ start, name string }{
	{"\xff\xfe\x00\x00", "UTF-32"},
	{"\x00\x00\xfe\xff", "UTF-32"},
	{"\xff\xfe", "UTF-16"},
	{"\xfe\xff", "UTF-16"},
	{"\x1f\x8b", "a gzip archive"},
	{"PK\x03\x04", "a zip archive or a spreadsheet"},
}

// open looks at the first bytes of the file.
func (p *PairReader) open() error {
	start, err := p.lines.Peek(4)
	if len(start) == 0 {
		return err
	}
	for _, f := range foreign {
		if bytes.HasPrefix(start, []byte(f.start)) {
			p.line, p.ended = 1, true
			return p.unlike("", "UTF-8 text", f.name)
		}
	}
	if bytes.HasPrefix(start, []byte(byteOrderMark)) {
		_, err = p.lines.Discard(len(byteOrderMark))
		return err
	}
	return nil
}

func (p *PairReader) readLine() ([]byte, error) {
	if p.line == 0 {
		if err := p.open(); err != nil {
			return nil, err
		}
	}
	line, err := p.lines.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		p.line++
		return nil, p.tooLong(p.skipLine())
	}
	if err != nil && (err != io.EOF || len(line) == 0) {
		return nil, err
	}
	p.line++
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if len(line) > p.limits.MaxLineBytes {
		return nil, p.tooLong(nil)
	}
	return line, nil
}

// skipLine reads on to the end of a line that does not fit the buffer.
func (p *PairReader) skipLine() error {
	for {
		_, err := p.lines.ReadSlice('\n')
		switch {
		case err == nil, err == io.EOF:
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

func (p *PairReader) tooLong(readErr error) error {
	if readErr != nil {
		return readErr
	}
	return p.unlike("", fmt.Sprintf("at most %d bytes", p.limits.MaxLineBytes), "a longer line")
}

func (p *PairReader) parse(line string) (Pair, error) {
	if at := strings.IndexAny(line, "\x00\r"); at >= 0 {
		return Pair{}, p.unlike("", "text in UTF-8 with lines that end in \\n or \\r\\n", fmt.Sprintf("byte %q in %s", line[at:at+1], found(line)))
	}
	fields := strings.Split(line, "\t")
	if len(fields) < 2 || len(fields) > 3 || (p.limits.NeedLabel && len(fields) != 3) {
		expected := "id, id and an optional label"
		if p.limits.NeedLabel {
			expected = "id, id and label"
		}
		return Pair{}, p.unlike("", expected+" separated by tabs", fmt.Sprintf("%d fields in %s", len(fields), found(line)))
	}
	pair := Pair{A: fields[0], B: fields[1]}
	for i, id := range fields[:2] {
		if id == "" || len(id) > maxIDBytes || !utf8.ValidString(id) {
			return Pair{}, p.unlike(fmt.Sprintf("id %d", i+1), fmt.Sprintf("1 to %d bytes of UTF-8", maxIDBytes), found(id))
		}
	}
	if len(fields) == 2 {
		return pair, nil
	}
	label, ok := parseLabel(fields[2])
	if !ok {
		return Pair{}, p.unlike("label", "a number from 0 to 1", found(fields[2]))
	}
	pair.Label, pair.HasLabel = label, true
	return pair, nil
}

// unlike is an error about a field of the line, or about the whole line where
// field is "".
func (p *PairReader) unlike(field, expected, found string) error {
	place := fmt.Sprintf("line %d", p.line)
	if field != "" {
		place += ", " + field
	}
	return errs.Unlike(errs.Invalid, place, expected, found)
}

// parseLabel accepts decimal notation only: strconv alone would also take
// "0x1p-1", "1_0" and "inf".
func parseLabel(s string) (float64, bool) {
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && v >= 0 && v <= 1 && !math.IsNaN(v)
}

// found quotes at most 40 bytes of what a line held.
func found(s string) string {
	if len(s) <= 40 {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%q… (%d bytes)", s[:40], len(s))
}

// ReadPairs reads all pairs, at most limits.MaxPairs, and stops at the first
// line that is none.
func ReadPairs(r io.Reader, limits PairLimits) ([]Pair, error) {
	reader := NewPairReader(r, limits)
	var pairs []Pair
	for {
		pair, err := reader.Next()
		if err == io.EOF {
			return pairs, nil
		}
		if err != nil {
			return nil, err
		}
		if len(pairs) == reader.limits.MaxPairs {
			return nil, reader.unlike("", fmt.Sprintf("at most %d pairs", reader.limits.MaxPairs), "more")
		}
		pairs = append(pairs, pair)
	}
}
