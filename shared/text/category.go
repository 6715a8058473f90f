package text

import (
	"unicode"

	"golang.org/x/text/unicode/rangetable"
)

// The published ids were made with the categories of Unicode 8: a character
// that is newer has none, so it is neither dropped nor split off. Checked
// against Hugging Face tokenizers 0.23 over every code point: all that both
// know agree, but for one decomposition (U+11938).
var unicode8 = rangetable.Assigned("8.0.0")

// is reports whether r was in the category by Unicode 8. The category comes
// first: nearly every character of a text fails it, and the test is cheaper.
func is(category *unicode.RangeTable, r rune) bool {
	return unicode.Is(category, r) && unicode.Is(unicode8, r)
}

func isControl(r rune) bool {
	return r < unicode.MaxLatin1 && unicode.IsControl(r) || is(unicode.Cf, r) || unicode.Is(unicode.Co, r)
}

func isMark(r rune) bool {
	switch r {
	case 0x1734: // later a spacing mark
		return true
	case 0x1885, 0x1886, 0xA9BD, 0x111C9: // later made marks
		return false
	}
	return is(unicode.Mn, r)
}

func isPunct(r rune) bool {
	if r <= unicode.MaxASCII {
		return isASCIIPunct(r)
	}
	switch r {
	case 0x166D, 0x111C9: // later a symbol, a mark
		return true
	}
	return is(unicode.P, r)
}

// isASCIIPunct holds every printable ASCII character that is no letter, digit
// or blank, so also $ + < = > ^ ` | ~, which Unicode counts as symbols.
func isASCIIPunct(r rune) bool {
	return r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~'
}
