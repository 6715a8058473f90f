package vecdb

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Filter expressions of Milvus are text. Everything that a caller supplies is
// a number, printed as one, or an id, printed by quote; nothing else reaches
// an expression.

// expression is the filter as Milvus reads it; "" restricts nothing.
func expression(f *Filter) string {
	var terms []string
	if len(f.Categories) > 0 {
		terms = append(terms, fieldCategoryID+" in "+numbers(f.Categories))
	}
	if len(f.Tags) > 0 {
		terms = append(terms, "array_contains_any("+fieldTagIDs+", "+numbers(f.Tags)+")")
	}
	if from, to, restricted := f.timeRange(); restricted {
		terms = append(terms, fmt.Sprintf("%s >= %d", fieldPublishedAt, from), fmt.Sprintf("%s < %d", fieldPublishedAt, to))
	}
	if len(f.ExcludeIDs) > 0 {
		terms = append(terms, fieldID+" not in "+strs(f.ExcludeIDs))
	}
	return strings.Join(terms, " && ")
}

// inIDs is true for the records with one of these ids. No ids: for none.
func inIDs(ids []string) string {
	if len(ids) == 0 {
		return fieldID + ` == ""` // ids have at least a byte
	}
	return fieldID + " in " + strs(ids)
}

func numbers(values []int64) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(v, 10))
	}
	b.WriteByte(']')
	return b.String()
}

func strs(values []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		quote(&b, v)
	}
	b.WriteByte(']')
	return b.String()
}

// quote writes s as a string literal of the expression language: in double
// quotes, with everything but letters and digits of ASCII and a few harmless
// signs as \uXXXX or \UXXXXXXXX. s must be UTF-8.
func quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf && plain(byte(r)):
			b.WriteByte(byte(r))
		case r <= 0xFFFF:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~:/@+", c) >= 0
}
