package text

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"videosim/shared/errs"
)

// tiny is a vocabulary small enough to read; ids are the indexes.
var tiny = []string{
	"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
	"中", "国", "abc", "ab", "##c", "!", "[", "]", "sep", "cafe", "〇", "##x", "x", "ㄅ", "##ㄆ", "=",
}

func tinyTokenizer(t testing.TB, literal string) *Tokenizer {
	t.Helper()
	tok, err := New([]byte(strings.Join(tiny, "\n")+"\n"), Options{LiteralSpecialTokens: literal})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func tokens(ids []int64) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = tiny[id]
	}
	return out
}

func TestEncode(t *testing.T) {
	tok := tinyTokenizer(t, LiteralIDs)
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"blanks of every kind", " \t\r\n\u00a0\u1680\u2028\u3000", ""},
		{"cjk apart", "中国abc", "中 国 abc"},
		{"longest match first", "abc abc! abx", "abc abc ! ab ##x"},
		{"upper case", "ABC", "abc"},
		{"accent", "Café cafe\u0301", "cafe cafe"},
		{"not equal becomes equal", "\u2260", "="},
		{"full width stays", "ａｂｃ", "[UNK]"},
		{"dropped, not split at", "a\u200bb\u0000c\u0085\ufeff\u00ad", "abc"},
		{"private use dropped", "a\ue000b", "ab"},
		{"unassigned kept", "a\U000e0fffb", "[UNK]"},
		{"invalid utf-8 dropped", "a\xffb\xc3", "ab"},
		{"cut multi-byte character", "中"[:2] + "国", "国"},
		{"special inside a word", "x[MASK]x", "x [MASK] x"},
		{"special, other case", "[sep]", "[ sep ]"},
		{"bracket before special", "[[SEP]]", "[ [SEP] ]"},
		{"special cut by cleaning is none", "[SE\u200bP]", "[ sep ]"},
		{"bopomofo together", "ㄅㄆ", "ㄅ ##ㄆ"},
		{"zero is no ideograph block", "〇x", "〇 ##x"},
		{"newer than unicode 8: neither mark nor punctuation", "x\u0d3b", "[UNK]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(tokens(tok.Encode(c.text)), " ")
			if got != c.want {
				t.Errorf("Encode(%q) = %q, want %q", c.text, got, c.want)
			}
		})
	}
}

func TestLongWords(t *testing.T) {
	tok := tinyTokenizer(t, LiteralIDs)
	word := "x" + strings.Repeat("x", 99)
	if got := tok.Encode(word); len(got) != 100 {
		t.Errorf("100 characters: %d tokens, want 100", len(got))
	}
	if got := tokens(tok.Encode(word + "x")); !slices.Equal(got, []string{unkToken}) {
		t.Errorf("101 characters: %v, want one [UNK]", got)
	}
}

// The edges of the blocks that are set apart, with the gap of extension E.
func TestCJKRanges(t *testing.T) {
	for _, c := range []struct {
		first, last rune
		want        bool
	}{
		{0x3400, 0x4DBF, true}, {0x4DC0, 0x4DFF, false}, {0x4E00, 0x9FFF, true},
		{0x20000, 0x2A6DF, true}, {0x2A6E0, 0x2A6FF, false}, {0x2A700, 0x2B73F, true},
		{0x2B740, 0x2B81F, true}, {0x2B820, 0x2B91F, false}, {0x2B920, 0x2CEAF, true},
		{0xF900, 0xFAFF, true}, {0x2F800, 0x2FA1F, true}, {0x2FA20, 0x2FA20, false},
		{0x3040, 0x312F, false}, {0xAC00, 0xD7A3, false}, {0x33FF, 0x33FF, false},
	} {
		for r := c.first; r <= c.last; r++ {
			if isCJK(r) != c.want {
				t.Fatalf("isCJK(%U) = %v, want %v", r, !c.want, c.want)
			}
		}
	}
}

func TestLiteralText(t *testing.T) {
	tok := tinyTokenizer(t, LiteralText)
	if got := strings.Join(tokens(tok.Encode("x[SEP]")), " "); got != "x [ sep ]" {
		t.Errorf("got %q, want the characters of [SEP] as text", got)
	}
}

func TestPair(t *testing.T) {
	tok := tinyTokenizer(t, LiteralIDs)
	for _, c := range []struct {
		name          string
		first, second string
		hasSecond     bool
		max           int
		want          string
		types         []int64
		cut, firstCut int
	}{
		{"fits", "中国", "x!", true, 8, "[CLS] 中 国 [SEP] x !", []int64{0, 0, 0, 0, 1, 1}, 0, 0},
		{"no second", "中", "x", false, 8, "[CLS] 中 [SEP]", []int64{0, 0, 0}, 0, 0},
		{"exact", "中国", "x", true, 5, "[CLS] 中 国 [SEP] x", []int64{0, 0, 0, 0, 1}, 0, 0},
		{"second cut", "中国", "xx!", true, 5, "[CLS] 中 国 [SEP] x", []int64{0, 0, 0, 0, 1}, 2, 0},
		{"separator and second cut", "中国", "x", true, 3, "[CLS] 中 国", []int64{0, 0, 0}, 2, 0},
		{"first cut", "中国!", "x", true, 3, "[CLS] 中 国", []int64{0, 0, 0}, 3, 1},
		{"both empty", "", "", true, 4, "[CLS] [SEP]", []int64{0, 0}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := tok.Pair(c.first, c.second, c.hasSecond, c.max)
			if got := strings.Join(tokens(e.IDs), " "); got != c.want {
				t.Errorf("ids %q, want %q", got, c.want)
			}
			if !slices.Equal(e.Types, c.types) {
				t.Errorf("types %v, want %v", e.Types, c.types)
			}
			if e.Cut != c.cut || e.FirstCut != c.firstCut {
				t.Errorf("cut %d (first %d), want %d (%d)", e.Cut, e.FirstCut, c.cut, c.firstCut)
			}
		})
	}
}

func TestPutClearsPadding(t *testing.T) {
	dirty := func() []int64 { return []int64{9, 9, 9, 9} }
	ids, types, mask := dirty(), dirty(), dirty()
	Encoding{IDs: []int64{2, 3}, Types: []int64{0, 1}}.Put(ids, types, mask)
	if !slices.Equal(ids, []int64{2, 3, 0, 0}) || !slices.Equal(types, []int64{0, 1, 0, 0}) ||
		!slices.Equal(mask, []int64{1, 1, 0, 0}) {
		t.Errorf("ids %v types %v mask %v", ids, types, mask)
	}
}

func TestNewRefuses(t *testing.T) {
	good := strings.Join(tiny, "\n")
	for name, c := range map[string]struct{ vocab, literal string }{
		"setting":     {good, "both"},
		"no [UNK]":    {strings.ReplaceAll(good, "[UNK]", "unk"), ""},
		"repeat":      {good + "\nabc", ""},
		"empty vocab": {"", ""},
	} {
		_, err := New([]byte(c.vocab), Options{LiteralSpecialTokens: c.literal})
		if errs.KindOf(err) != errs.Invalid || errs.FieldOf(err) == "" {
			t.Errorf("%s: error %v, want Invalid with a field", name, err)
		}
	}
}

func TestCarriageReturnsInVocab(t *testing.T) {
	tok, err := New([]byte(strings.Join(tiny, "\r\n")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := tokens(tok.Encode("abc")); !slices.Equal(got, []string{"abc"}) {
		t.Errorf("got %v", got)
	}
}

func TestChineseVocab(t *testing.T) {
	tok, err := New(ChineseVocab(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if tok.Size() != 21128 {
		t.Errorf("%d tokens, want 21128", tok.Size())
	}
	if got := tok.Encode("你好"); !slices.Equal(got, []int64{872, 1962}) {
		t.Errorf("你好 = %v", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := tinyTokenizer(t, LiteralIDs)
	want := tok.Encode("中国abc[SEP]x!")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if got := tok.Encode("中国abc[SEP]x!"); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// No text makes it panic, ids are in the vocabulary, and cutting only cuts.
func FuzzPair(f *testing.F) {
	for _, s := range []string{
		"", "中国abc!", "x[MASK]x", "\xff\xfe[SEP", "e\u0301\u0302" + strings.Repeat("\u0300", 64),
		strings.Repeat("x", 300), "\u3000\u0085", "Ⱥẞİ\U0001f468\u200d\U0001f469", "한글ガ", "\ufb01",
	} {
		f.Add(s, "x中", uint8(8))
	}
	tok := tinyTokenizer(f, LiteralIDs)
	f.Fuzz(func(t *testing.T, first, second string, limit uint8) {
		limited := tok.Pair(first, second, true, int(limit))
		whole := tok.Pair(first, second, true, 1<<30)
		if len(limited.IDs)+limited.Cut != len(whole.IDs) {
			t.Fatalf("%d kept and %d cut of %d", len(limited.IDs), limited.Cut, len(whole.IDs))
		}
		if !slices.Equal(limited.IDs, whole.IDs[:len(limited.IDs)]) {
			t.Fatal("the cut row does not begin the whole one")
		}
		for _, id := range whole.IDs {
			if id < 0 || int(id) >= tok.Size() {
				t.Fatalf("id %d of %d", id, tok.Size())
			}
		}
	})
}

func BenchmarkEncodeTitle(b *testing.B) {
	tok, err := New(ChineseVocab(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		tok.Encode("三分钟学会做红烧肉，手机评测今天吃什么教你做iPhone 13")
	}
}
