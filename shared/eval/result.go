package eval

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"

	"videosim/shared/errs"
)

// The challenge's submission. Each model's output is rounded to half
// precision, the two are added and normalised in double precision, and the
// sum is rounded to half precision again; the file is one JSON object,
// id → numbers, spelled as Python's json.dumps spells it.

// HalfRows rounds one model's outputs, a row a video, to the nearest half.
// A value that is not finite or beyond 65504 is errs.Corrupt.
func HalfRows(rows [][]float32) ([][]float64, error) {
	out := make([][]float64, len(rows))
	for i, row := range rows {
		out[i] = make([]float64, len(row))
		for j, v := range row {
			h := RoundHalf(float64(v))
			if math.IsNaN(h) || math.IsInf(h, 0) {
				return nil, errs.New(errs.Corrupt, "row %d, number %d: %v does not fit half precision (largest 65504)", i, j, v)
			}
			out[i][j] = h
		}
	}
	return out, nil
}

// FuseHalves adds the rounded outputs of the two models row by row, divides
// each sum by its length (by 1e-12 where it is shorter, so a zero row stays
// zero) and rounds to half precision.
func FuseHalves(late, early [][]float64) ([][]float64, error) {
	if len(late) != len(early) {
		return nil, errs.New(errs.Invalid, "%d rows of the late and %d of the early model do not add up", len(late), len(early))
	}
	out := make([][]float64, len(late))
	for i := range late {
		if len(late[i]) != len(early[i]) {
			return nil, errs.New(errs.Invalid, "row %d: %d and %d numbers do not add up", i, len(late[i]), len(early[i]))
		}
		out[i] = make([]float64, len(late[i]))
		square := 0.0
		for j := range out[i] {
			out[i][j] = late[i][j] + early[i][j]
			square += out[i][j] * out[i][j]
		}
		norm := max(math.Sqrt(square), minNorm)
		for j := range out[i] {
			out[i][j] = RoundHalf(out[i][j] / norm)
		}
	}
	return out, nil
}

// RoundHalf returns the IEEE 754 binary16 nearest to x, ties to even. It
// starts from the double itself: going through float32 would round twice.
func RoundHalf(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	const (
		fractionBits = 10
		minExponent  = -14 // of normal numbers; below, steps stay 2^-24
		largest      = 65504
	)
	_, exp := math.Frexp(x) // |x| in [2^(exp-1), 2^exp)
	step := math.Ldexp(1, max(exp-1, minExponent)-fractionBits)
	rounded := math.RoundToEven(x/step) * step
	if math.Abs(rounded) > largest {
		return math.Inf(int(math.Copysign(1, x)))
	}
	return rounded
}

// WriteResult writes {"id": [numbers], …} on one line without an end, byte
// for byte as Python writes such a dictionary. A repeated id keeps its first
// place and its last row. Numbers that JSON does not have are errs.Corrupt.
func WriteResult(w io.Writer, ids []string, rows [][]float64) error {
	if len(ids) != len(rows) {
		return errs.New(errs.Invalid, "%d ids for %d rows", len(ids), len(rows))
	}
	last := make(map[string]int, len(ids))
	for i, id := range ids {
		last[id] = i
	}
	out := bufio.NewWriterSize(w, 1<<16)
	separator := "{"
	for _, id := range ids {
		row, unwritten := last[id]
		if !unwritten {
			continue
		}
		delete(last, id)
		out.WriteString(separator)
		separator = ", "
		out.WriteString(pythonString(id))
		out.WriteString(": ")
		if err := writeRow(out, rows[row]); err != nil {
			return fmt.Errorf("result of video %q: %w", id, err)
		}
	}
	if separator == "{" {
		out.WriteString(separator)
	}
	out.WriteString("}")
	return out.Flush() // a bufio.Writer keeps its first error
}

func writeRow(out *bufio.Writer, row []float64) error {
	out.WriteByte('[')
	for i, v := range row {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errs.New(errs.Corrupt, "number %d is %v", i, v)
		}
		if i > 0 {
			out.WriteString(", ")
		}
		out.Write(appendPythonFloat(out.AvailableBuffer(), v))
	}
	return out.WriteByte(']')
}

// appendPythonFloat is Python's repr of a finite float: the shortest digits
// that read back the same, in plain notation for exponents -4 to 15.
func appendPythonFloat(dst []byte, v float64) []byte {
	start := len(dst)
	dst = strconv.AppendFloat(dst, v, 'e', -1, 64)
	exponent := 0
	if i := strings.IndexByte(string(dst[start:]), 'e'); i >= 0 {
		exponent, _ = strconv.Atoi(string(dst[start+i+1:])) // AppendFloat wrote it
	}
	if exponent < -4 || exponent >= 16 {
		return dst
	}
	dst = strconv.AppendFloat(dst[:start], v, 'f', -1, 64)
	if !strings.Contains(string(dst[start:]), ".") {
		dst = append(dst, ".0"...)
	}
	return dst
}

// pythonString quotes s as json.dumps does by default: ASCII only, the rest
// as UTF-16 escapes.
func pythonString(s string) string {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch escape, ok := short[r]; {
		case ok:
			b.WriteString(escape)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}
