package text

// Encoding is one input row of a text model, not yet padded.
type Encoding struct {
	IDs      []int64 // [CLS] first [SEP] second, without a closing [SEP]
	Types    []int64 // 0 up to and with [SEP], 1 after it
	Cut      int     // tokens that did not fit
	FirstCut int     // of these, tokens of the first text ([SEP] not counted)
}

// Pair encodes one text, or two, in at most max tokens. What is too long is
// cut at the end: a long first text loses its [SEP] and the whole second text,
// as in the training of the published models.
func (t *Tokenizer) Pair(first, second string, hasSecond bool, max int) Encoding {
	ids := make([]int64, 1, 64)
	ids[0] = t.special[clsToken]
	ids = t.encode(ids, first)
	firstLen := len(ids)
	ids = append(ids, t.special[sepToken])
	typeOne := len(ids)
	if hasSecond {
		ids = t.encode(ids, second)
	}
	e := Encoding{}
	if len(ids) > max {
		e.Cut = len(ids) - max
		e.FirstCut = firstLen - min(firstLen, max)
		ids = ids[:max]
	}
	e.IDs = ids
	e.Types = make([]int64, len(ids))
	for i := typeOne; i < len(ids); i++ {
		e.Types[i] = 1
	}
	return e
}

// Put writes the row and its padding into slices of one length, which must be
// at least len(e.IDs): ids and types are 0 in the padding, the mask is 1
// for tokens and 0 for padding. Models do not look at what the mask leaves out,
// so 0 serves also where the vocabulary has [PAD] elsewhere.
func (e Encoding) Put(ids, types, mask []int64) {
	n := copy(ids, e.IDs)
	copy(types, e.Types)
	for i := range mask[:n] {
		mask[i] = 1
	}
	clear(ids[n:])
	clear(types[n:])
	clear(mask[n:])
}
