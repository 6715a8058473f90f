package text

import (
	"strings"

	"github.com/sugarme/tokenizer/model"

	"videosim/shared/errs"
)

// The tokens that mean something to BERT, whatever their ids.
const (
	padToken  = "[PAD]"
	unkToken  = "[UNK]"
	clsToken  = "[CLS]"
	sepToken  = "[SEP]"
	maskToken = "[MASK]"
)

// specials are the ids of the special tokens that a vocabulary has.
type specials map[string]int64

// findSpecials looks the tokens up by name: vocabularies put them where they
// like. A text model can do without [MASK], which then is ordinary text.
func findSpecials(ids model.Vocab) (specials, error) {
	special := specials{}
	for _, token := range []string{padToken, unkToken, clsToken, sepToken, maskToken} {
		id, ok := ids[token]
		if !ok && token != maskToken {
			return nil, errs.Field("vocabulary", "has no line %q", token)
		}
		if ok {
			special[token] = int64(id)
		}
	}
	return special, nil
}

// next finds the first special token written out in s, in this very case and
// wherever it stands, inside a word too. found is "" without one.
func (x specials) next(s string) (at int, found string, id int64) {
	for from := 0; ; {
		i := strings.IndexByte(s[from:], '[')
		if i < 0 {
			return len(s), "", 0
		}
		at = from + i
		if end := strings.IndexByte(s[at:min(len(s), at+maxSpecial)], ']'); end > 0 {
			token := s[at : at+end+1]
			if id, ok := x[token]; ok {
				return at, token, id
			}
		}
		from = at + 1
	}
}

// maxSpecial is the length of the longest special token.
const maxSpecial = len(maskToken)
