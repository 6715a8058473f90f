package text

import "strings"

// The tokens that mean something to BERT, whatever their ids.
const (
	padToken  = "[PAD]"
	unkToken  = "[UNK]"
	clsToken  = "[CLS]"
	sepToken  = "[SEP]"
	maskToken = "[MASK]"
)

var specialTokens = [...]string{padToken, unkToken, clsToken, sepToken, maskToken}

// nextSpecial finds the first special token written out in s, in this very
// case and wherever it stands, inside a word too. found is "" without one.
func nextSpecial(s string) (at int, found string) {
	for from := 0; ; {
		i := strings.IndexByte(s[from:], '[')
		if i < 0 {
			return len(s), ""
		}
		at = from + i
		for _, token := range specialTokens {
			if strings.HasPrefix(s[at:], token) {
				return at, token
			}
		}
		from = at + 1
	}
}
