package text

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Ids under every setting, as Hugging Face's tokenizer gives them
// (testdata/settings.py).
func TestSettings(t *testing.T) {
	data, err := os.ReadFile("testdata/settings.json")
	if err != nil {
		t.Fatal(err)
	}
	var fixture struct {
		Vocab, Texts []string
		Cases        []struct {
			Cased    bool
			Accents  string
			WholeCJK bool `json:"whole_cjk"`
			IDs      [][]int64
		}
	}
	if err := json.Unmarshal(data, &fixture); err != nil {
		t.Fatal(err)
	}
	if len(fixture.Cases) != 12 || len(fixture.Texts) < 20 {
		t.Fatalf("%d cases of %d texts, expected 12 of at least 20", len(fixture.Cases), len(fixture.Texts))
	}
	vocab := []byte(strings.Join(fixture.Vocab, "\n"))
	for _, c := range fixture.Cases {
		t.Run(fmt.Sprintf("cased=%v accents=%q whole=%v", c.Cased, c.Accents, c.WholeCJK), func(t *testing.T) {
			tok, err := New(vocab, Options{Cased: c.Cased, Accents: c.Accents, WholeCJK: c.WholeCJK})
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range fixture.Texts {
				if got := tok.Encode(text); !slices.Equal(got, c.IDs[i]) {
					t.Errorf("%q: %v, want %v", text, pieces(fixture.Vocab, got), pieces(fixture.Vocab, c.IDs[i]))
				}
			}
		})
	}
}

func pieces(vocab []string, ids []int64) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = vocab[id]
	}
	return out
}

// Special tokens are found by name, wherever the vocabulary has them; one
// without [MASK] reads it as text.
func TestSpecialTokensByName(t *testing.T) {
	tok, err := New([]byte("a\n[SEP]\n[UNK]\n[CLS]\n[PAD]\n["), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Pair("a[SEP][MASK]", "", false, 9).IDs; !slices.Equal(got, []int64{3, 0, 1, 5, 2, 2, 1}) {
		t.Errorf("ids %v, want [CLS] a [SEP] [ [UNK] [UNK] [SEP]", got)
	}
}
