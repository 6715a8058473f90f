package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"videosim/shared/errs"
)

// TokenizerSettings say how a folder's tokenizer prepares text.
type TokenizerSettings struct {
	LowerCase    bool
	StripAccents *bool // nil: where LowerCase
	SplitCJK     bool
}

// tokenizerJSON are the keys of tokenizer_config.json and
// special_tokens_map.json that decide which ids a text becomes.
type tokenizerJSON struct {
	Class        *string      `json:"tokenizer_class"`
	LowerCase    *bool        `json:"do_lower_case"`
	StripAccents *bool        `json:"strip_accents"`
	SplitCJK     *bool        `json:"tokenize_chinese_chars"`
	Basic        *bool        `json:"do_basic_tokenize"`
	NeverSplit   []string     `json:"never_split"`
	Pad          specialToken `json:"pad_token"`
	Unk          specialToken `json:"unk_token"`
	Cls          specialToken `json:"cls_token"`
	Sep          specialToken `json:"sep_token"`
	Mask         specialToken `json:"mask_token"`
	// Added are all tokens outside WordPiece, the special ones among them.
	Added map[string]specialToken `json:"added_tokens_decoder"`
}

// specialToken is a string, or an object with the string as its content.
type specialToken string

func (s *specialToken) UnmarshalJSON(data []byte) error {
	var object struct{ Content string }
	if err := json.Unmarshal(data, &object); err == nil {
		*s = specialToken(object.Content)
		return nil
	}
	return json.Unmarshal(data, (*string)(s))
}

// readTokenizer reads the vocabulary and the settings. Where both files give
// a setting, tokenizer_config.json wins, as in transformers.
func (e *Encoder) readTokenizer(dir string) error {
	fast, err := readFast(dir)
	if err != nil {
		return err
	}
	if err := e.readVocab(dir, fast); err != nil {
		return err
	}
	e.Tokenizer = TokenizerSettings{LowerCase: true, SplitCJK: true}
	if fast != nil {
		fast.Normalizer.apply(&e.Tokenizer)
	}
	for _, name := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		if err := e.readSettings(dir, name); err != nil {
			return err
		}
	}
	return nil
}

func (e *Encoder) readSettings(dir, name string) error {
	data, err := readSmall(filepath.Join(dir, name), maxVocabBytes)
	if errs.KindOf(err) == errs.NotFound {
		return nil // older folders have neither
	}
	if err != nil {
		return err
	}
	var j tokenizerJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return errs.New(errs.Invalid, "%s: %w", name, err)
	}
	if err := j.check(name); err != nil {
		return err
	}
	if added := j.added(); len(added) > 0 {
		e.note("%d tokens were added to the vocabulary and are read as ordinary text here: %s", len(added), shown(added))
	}
	if j.LowerCase != nil {
		e.Tokenizer.LowerCase = *j.LowerCase
	}
	if j.StripAccents != nil {
		e.Tokenizer.StripAccents = j.StripAccents
	}
	if j.SplitCJK != nil {
		e.Tokenizer.SplitCJK = *j.SplitCJK
	}
	return nil
}

// tokenizerClasses are BERT's tokenizer under its names; the other models'
// classes are copies of it.
func tokenizerClasses() []string {
	return []string{
		"BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend",
		"DistilBertTokenizer", "DistilBertTokenizerFast", "ElectraTokenizer", "ElectraTokenizerFast",
	}
}

func (j tokenizerJSON) check(file string) error {
	if j.Class != nil && !slices.Contains(tokenizerClasses(), *j.Class) {
		return errs.Field(file+": tokenizer_class", "expected %q, found %q", "BertTokenizer", *j.Class)
	}
	if j.Basic != nil && !*j.Basic {
		return errs.Field(file+": do_basic_tokenize", "expected true, found false")
	}
	if len(j.NeverSplit) > 0 {
		return errs.Field(file+": never_split", "expected none, found %q", j.NeverSplit)
	}
	for _, s := range []struct {
		key         string
		found, want specialToken
	}{
		{"pad_token", j.Pad, "[PAD]"}, {"unk_token", j.Unk, "[UNK]"}, {"cls_token", j.Cls, "[CLS]"},
		{"sep_token", j.Sep, "[SEP]"}, {"mask_token", j.Mask, "[MASK]"},
	} {
		if s.found != "" && s.found != s.want {
			return errs.Field(file+": "+s.key, "expected %q, found %q", s.want, s.found)
		}
	}
	return nil
}

// added lists the added tokens that are none of BERT's five, by name.
func (j tokenizerJSON) added() []string {
	var names []string
	for _, token := range j.Added {
		if !slices.Contains([]string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}, string(token)) {
			names = append(names, string(token))
		}
	}
	slices.Sort(names)
	return names
}

// readVocab takes vocab.txt, or the vocabulary in tokenizer.json.
func (e *Encoder) readVocab(dir string, fast *fastTokenizer) (err error) {
	e.Vocab, err = readSmall(filepath.Join(dir, "vocab.txt"), maxVocabBytes)
	if errs.KindOf(err) == errs.NotFound {
		if fast == nil {
			return errs.New(errs.NotFound, "expected vocab.txt or tokenizer.json, found neither")
		}
		e.Vocab, err = fast.vocab()
	}
	if err != nil {
		return err
	}
	if lines := bytes.Count(bytes.TrimSuffix(e.Vocab, []byte("\n")), []byte("\n")) + 1; lines > e.Config.Vocab {
		return errs.Field("vocab.txt", "expected at most vocab_size %d tokens, found %d", e.Config.Vocab, lines)
	}
	return nil
}

// fastTokenizer is tokenizer.json, as the library tokenizers writes it.
type fastTokenizer struct {
	Model struct {
		Type     string           `json:"type"`
		Unk      *string          `json:"unk_token"`
		Prefix   *string          `json:"continuing_subword_prefix"`
		MaxChars *int             `json:"max_input_chars_per_word"`
		Vocab    map[string]int64 `json:"vocab"`
	} `json:"model"`
	Normalizer   *fastNormalizer        `json:"normalizer"`
	PreTokenizer *struct{ Type string } `json:"pre_tokenizer"`
}

type fastNormalizer struct {
	Type         string `json:"type"`
	CleanText    *bool  `json:"clean_text"`
	SplitCJK     *bool  `json:"handle_chinese_chars"`
	StripAccents *bool  `json:"strip_accents"`
	LowerCase    *bool  `json:"lowercase"`
}

func (n *fastNormalizer) apply(s *TokenizerSettings) {
	if n == nil || n.Type != "BertNormalizer" {
		return
	}
	s.StripAccents = n.StripAccents
	if n.LowerCase != nil {
		s.LowerCase = *n.LowerCase
	}
	if n.SplitCJK != nil {
		s.SplitCJK = *n.SplitCJK
	}
}

// readFast reads tokenizer.json; nil where there is none.
func readFast(dir string) (*fastTokenizer, error) {
	data, err := readSmall(filepath.Join(dir, "tokenizer.json"), maxVocabBytes)
	if errs.KindOf(err) == errs.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := &fastTokenizer{}
	var kind struct{ Model struct{ Type string } }
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, errs.New(errs.Invalid, "tokenizer.json: %w", err)
	}
	if f.Model.Type = kind.Model.Type; kind.Model.Type != "WordPiece" {
		return f, nil // whose vocabulary may have another form; vocab tells
	}
	if err := json.Unmarshal(data, f); err != nil {
		return nil, errs.New(errs.Invalid, "tokenizer.json: %w", err)
	}
	return f, nil
}

// vocab lists the tokens by id, a token a line. It is asked for only where
// there is no vocab.txt, so everything else must be BERT's, too.
func (f *fastTokenizer) vocab() ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	tokens := make([]string, len(f.Model.Vocab))
	have := make([]bool, len(tokens))
	for token, id := range f.Model.Vocab {
		switch {
		case id < 0 || id >= int64(len(tokens)) || have[id]:
			return nil, errs.Field("tokenizer.json: model.vocab", "expected the ids 0 to %d once each, found %q with %d", len(tokens)-1, token, id)
		case strings.ContainsAny(token, "\n\r"):
			return nil, errs.Field("tokenizer.json: model.vocab", "expected tokens of one line, found %q", token)
		}
		tokens[id], have[id] = token, true
	}
	return []byte(strings.Join(tokens, "\n") + "\n"), nil
}

func (f *fastTokenizer) check() error {
	normalizer, splitter := "none", "none"
	if f.Normalizer != nil {
		normalizer = f.Normalizer.Type
	}
	if f.PreTokenizer != nil {
		splitter = f.PreTokenizer.Type
	}
	field := func(key, expected string, found any) error {
		return errs.Field("tokenizer.json: "+key, "expected %s, found %v (or add vocab.txt)", expected, found)
	}
	m := f.Model
	switch {
	case m.Type != "WordPiece":
		return field("model.type", "WordPiece", fmt.Sprintf("%q", m.Type))
	case len(m.Vocab) == 0:
		return field("model.vocab", "tokens", "none")
	case m.Unk != nil && *m.Unk != "[UNK]":
		return field("model.unk_token", "[UNK]", *m.Unk)
	case m.Prefix != nil && *m.Prefix != "##":
		return field("model.continuing_subword_prefix", "##", *m.Prefix)
	case m.MaxChars != nil && *m.MaxChars != 100:
		return field("model.max_input_chars_per_word", "100", *m.MaxChars)
	case normalizer != "BertNormalizer":
		return field("normalizer", "BertNormalizer", normalizer)
	case f.Normalizer.CleanText != nil && !*f.Normalizer.CleanText:
		return field("normalizer.clean_text", "true", false)
	case splitter != "BertPreTokenizer":
		return field("pre_tokenizer", "BertPreTokenizer", splitter)
	}
	return nil
}
