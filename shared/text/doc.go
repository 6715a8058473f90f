// Package text turns titles and speech text into token ids.
//
// The ids are those of Hugging Face's fast BERT tokenizer, which the published
// weights were trained with. A text goes through
//
//	special.go    the special tokens: by name in the vocabulary, literally in a text
//	normalize.go  cleaning, blanks around CJK, accents, lower case; each as the Options say
//	split.go      words: split at blanks, punctuation alone
//	tokenizer.go  WordPiece, word by word; Encode
//	pair.go       [CLS] title [SEP] speech text, cut to a length
//
// Only the last step is a library's (sugarme/tokenizer's WordPiece model): the
// rest of that library gives other ids for one Chinese title in eleven and
// panics on invalid UTF-8.
//
// A Tokenizer never changes after New and may be used by any number of
// goroutines. No input makes it fail or panic.
package text
