// Outside the package: testkit reaches it through the event bus.
package text_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"videosim/shared/testkit"
	"videosim/shared/text"
)

type goldenRow struct {
	IDs   []int64 `json:"input_ids"`
	Types []int64 `json:"token_type_ids"`
	Mask  []int64 `json:"attention_mask"`
}

func (want goldenRow) check(t *testing.T, what string, e text.Encoding) {
	t.Helper()
	n := len(want.IDs)
	ids, types, mask := make([]int64, n), make([]int64, n), make([]int64, n)
	e.Put(ids, types, mask)
	if !slices.Equal(ids, want.IDs) {
		t.Errorf("%s: ids\n got %v\nwant %v", what, ids, want.IDs)
	}
	if !slices.Equal(types, want.Types) {
		t.Errorf("%s: types\n got %v\nwant %v", what, types, want.Types)
	}
	if !slices.Equal(mask, want.Mask) {
		t.Errorf("%s: mask\n got %v\nwant %v", what, mask, want.Mask)
	}
}

// Every row of the reference's tokenizer, exactly.
func TestGoldenTokenization(t *testing.T) {
	dir := testkit.GoldenDir(t)
	vocab, err := os.ReadFile(filepath.Join(dir, "vocab.txt"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := text.New(vocab, text.Options{LiteralSpecialTokens: text.LiteralIDs})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "tokenization.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	rows := 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var row struct {
			Title, ASR     string
			Model1, Model2 goldenRow
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatalf("line %d: %v", rows+1, err)
		}
		rows++
		row.Model1.check(t, "title+asr "+row.Title, tok.Pair(row.Title, row.ASR, true, len(row.Model1.IDs)))
		row.Model2.check(t, "title "+row.Title, tok.Pair(row.Title, "", false, len(row.Model2.IDs)))
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if rows == 0 {
		t.Fatal("tokenization.jsonl holds no rows")
	}
}
