package text

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// normalizer is BERT's: clean, blanks around CJK, NFD without marks, lower
// case, in this order. Invalid UTF-8 reads as U+FFFD, which cleaning drops.
type normalizer struct{ splitCJK, strip, lower bool }

func (o Options) normalizer() normalizer {
	return normalizer{
		splitCJK: !o.WholeCJK,
		strip:    o.Accents == AccentsStrip || o.Accents == AccentsByCase && !o.Cased,
		lower:    !o.Cased,
	}
}

func (n normalizer) apply(s string) string {
	s = n.clean(s)
	if n.strip {
		s = norm.NFD.String(s)
	}
	if !n.strip && !n.lower {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		switch {
		case n.strip && r > unicode.MaxASCII && isMark(r):
		case n.lower:
			writeLower(&b, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// writeLower writes the lower case of r: one rune for one, but for İ, whose
// dot NFD has taken off already where accents go.
func writeLower(b *strings.Builder, r rune) {
	switch {
	case 'A' <= r && r <= 'Z':
		b.WriteByte(byte(r + 'a' - 'A'))
	case r < unicode.MaxASCII:
		b.WriteByte(byte(r))
	case r == 'İ':
		b.WriteString("i\u0307")
	default:
		b.WriteRune(unicode.ToLower(r))
	}
}

// clean drops what is not text, makes every white space a blank, and may set
// CJK characters apart. The result is valid UTF-8.
func (n normalizer) clean(s string) string {
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
		case n.splitCJK && isCJK(r):
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
