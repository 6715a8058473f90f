package text

import (
	"bytes"
	"fmt"

	"github.com/sugarme/tokenizer/model"
	"github.com/sugarme/tokenizer/model/wordpiece"

	"videosim/shared/errs"
)

// What becomes of "[SEP]" and the like typed into a text.
const (
	// LiteralIDs makes them the tokens themselves, as the published models'
	// tokenizer does: a title may then contain a real [SEP].
	LiteralIDs = "ids"
	// LiteralText reads them as the ordinary characters they are.
	LiteralText = "text"
)

// Longest word that WordPiece looks at, in characters; a longer one is [UNK].
const maxWordChars = 100

// What becomes of accents and other combining marks.
const (
	// AccentsByCase drops them where letters lose their case, and keeps them
	// where letters keep it, as BERT does unless told otherwise.
	AccentsByCase = ""
	AccentsStrip  = "strip"
	AccentsKeep   = "keep"
)

// Options of a Tokenizer. The zero value is uncased BERT's, which the published
// models use.
type Options struct {
	// LiteralSpecialTokens is LiteralIDs (also the meaning of "") or LiteralText.
	LiteralSpecialTokens string
	// Cased keeps upper-case letters (Hugging Face's do_lower_case: false).
	Cased bool
	// Accents is AccentsByCase, AccentsStrip or AccentsKeep (strip_accents: null,
	// true, false).
	Accents string
	// WholeCJK does not set CJK characters apart (tokenize_chinese_chars: false).
	WholeCJK bool
}

// Tokenizer maps text to ids. Make one with New.
type Tokenizer struct {
	model    wordpiece.WordPiece
	size     int
	special  specials
	literals bool // special tokens in a text become their ids
	norm     normalizer
}

// New makes a tokenizer of a vocab.txt: one token a line, ids by line number
// from 0. Errors are Invalid.
func New(vocab []byte, opts Options) (*Tokenizer, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	ids, err := parseVocab(vocab)
	if err != nil {
		return nil, err
	}
	special, err := findSpecials(ids)
	if err != nil {
		return nil, err
	}
	wp := wordpiece.NewWordPieceBuilder().Vocab(&ids).
		UnkToken(unkToken).MaxInputCharsPerWord(maxWordChars).Build()
	return &Tokenizer{model: wp, size: len(ids), special: special, literals: opts.LiteralSpecialTokens != LiteralText, norm: opts.normalizer()}, nil
}

func (o Options) validate() error {
	switch o.LiteralSpecialTokens {
	case "", LiteralIDs, LiteralText:
	default:
		return errs.Field("literal_special_tokens", "expected %q or %q, found %q", LiteralIDs, LiteralText, o.LiteralSpecialTokens)
	}
	switch o.Accents {
	case AccentsByCase, AccentsStrip, AccentsKeep:
	default:
		return errs.Field("accents", "expected %q, %q or none, found %q", AccentsStrip, AccentsKeep, o.Accents)
	}
	return nil
}

func parseVocab(vocab []byte) (model.Vocab, error) {
	vocab = bytes.TrimSuffix(vocab, []byte("\n"))
	ids := make(model.Vocab, bytes.Count(vocab, []byte("\n"))+1)
	id := 0
	for line := range bytes.SplitSeq(vocab, []byte("\n")) {
		token := string(bytes.TrimSuffix(line, []byte("\r")))
		if first, dup := ids[token]; dup {
			return nil, errs.Field("vocabulary", "line %d repeats line %d: %q", id+1, first+1, token)
		}
		ids[token] = id
		id++
	}
	return ids, nil
}

// Size is the number of tokens in the vocabulary; every id is below it.
func (t *Tokenizer) Size() int { return t.size }

// Pad is the id of [PAD].
func (t *Tokenizer) Pad() int64 { return t.special[padToken] }

// Encode returns the ids of one text, without [CLS] and [SEP] around them.
func (t *Tokenizer) Encode(text string) []int64 { return t.encode(nil, text) }

// encode appends the ids of text to dst.
func (t *Tokenizer) encode(dst []int64, text string) []int64 {
	if !t.literals {
		return t.encodePlain(dst, text)
	}
	for {
		at, token, id := t.special.next(text)
		dst = t.encodePlain(dst, text[:at])
		if token == "" {
			return dst
		}
		dst = append(dst, id)
		text = text[at+len(token):]
	}
}

func (t *Tokenizer) encodePlain(dst []int64, text string) []int64 {
	words(t.norm.apply(text), func(word string) bool {
		pieces, err := t.model.Tokenize(word)
		if err != nil {
			// It fails only where the vocabulary lacks [UNK], which New refuses.
			panic(fmt.Sprintf("wordpiece of %q: %v", word, err))
		}
		for i := range pieces {
			dst = append(dst, int64(pieces[i].Id))
		}
		return true
	})
	return dst
}
