package text

import (
	"unicode"
	"unicode/utf8"
)

// words yields the words of a normalised text: runs between blanks, with each
// punctuation character a word of its own.
func words(s string, yield func(word string) bool) {
	start := 0
	for i, r := range s {
		blank := unicode.IsSpace(r)
		if !blank && !isPunct(r) {
			continue
		}
		if start < i && !yield(s[start:i]) {
			return
		}
		start = i + utf8.RuneLen(r)
		if !blank && !yield(s[i:start]) {
			return
		}
	}
	if start < len(s) {
		yield(s[start:])
	}
}
