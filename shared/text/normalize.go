package text

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// normalize is BERT's normaliser in its order: clean, blanks around CJK, NFD
// without marks, lower case. Invalid UTF-8 reads as U+FFFD, which cleaning drops.
func normalize(s string) string {
	s = norm.NFD.String(clean(s))
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if r < unicode.MaxASCII {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			b.WriteByte(byte(r))
			continue
		}
		if !isMark(r) {
			// One rune for one: the only lower case of more than one rune, that
			// of İ, cannot arise once the dot has been taken off.
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// clean drops what is not text, makes every white space a blank, and sets CJK
// characters apart. The result is valid UTF-8.
func clean(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/2)
	for _, r := range s {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			b.WriteByte(' ')
		case r == 0 || r == unicode.ReplacementChar || isControl(r):
			// Dropped before the test for white space: U+0085 is both.
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case isCJK(r):
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isCJK holds the blocks that BERT splits into single characters. Kana, Hangul
// and bopomofo are not among them. Extension E begins at U+2B920 and not at
// U+2B820: a slip in the tokenizer that the published ids were made with.
func isCJK(r rune) bool {
	if r < 0x3400 {
		return false
	}
	return r >= 0x4E00 && r <= 0x9FFF ||
		r <= 0x4DBF ||
		r >= 0x20000 && r <= 0x2A6DF ||
		r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F ||
		r >= 0x2B920 && r <= 0x2CEAF ||
		r >= 0xF900 && r <= 0xFAFF ||
		r >= 0x2F800 && r <= 0x2FA1F
}
