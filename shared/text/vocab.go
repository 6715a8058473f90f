package text

import (
	_ "embed"
	"slices"
)

// vocab.txt is the vocabulary of BERT-base, Chinese, as Google published it
// (github.com/google-research/bert, chinese_L-12_H-768_A-12), 21,128 lines.
// Copyright 2018 The Google AI Language Team Authors, Apache License 2.0; see
// the NOTICE beside it.
//
//go:embed vocab.txt
var chineseVocab []byte

// ChineseVocab returns a copy of the vocab.txt of BERT-base, Chinese: one
// token a line, the id is the line number counted from 0.
func ChineseVocab() []byte { return slices.Clone(chineseVocab) }
