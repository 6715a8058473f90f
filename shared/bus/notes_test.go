package bus_test

import (
	"fmt"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/testkit"
)

func TestNotes(t *testing.T) {
	b := testkit.Bus(t)
	ctx := within(t)
	var got map[string]int
	if err := b.ReadNote(ctx, "x", &got); err == nil || errs.KindOf(err) != errs.NotFound {
		t.Errorf("no note yet: %v", err)
	}
	for n := range 3 {
		if err := b.WriteNote(ctx, "x", map[string]int{"n": n}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.ReadNote(ctx, "x", &got); err != nil || got["n"] != 2 {
		t.Errorf("read %v (%v), want the last one written", got, err)
	}
	for range 2 {
		if err := b.DropNote(ctx, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.ReadNote(ctx, "x", &got); err == nil || errs.KindOf(err) != errs.NotFound {
		t.Errorf("a dropped note: %v", err)
	}
}

func TestPurgeLeavesTheOtherModel(t *testing.T) {
	b := testkit.Bus(t)
	ctx := within(t)
	const model, other = "0123456789ab", "ba9876543210"
	for i := range 9 {
		for _, fingerprint := range []string{model, other} {
			e := &event.Embedding{Id: fmt.Sprint("v", i%7), Fingerprint: fingerprint, Sequence: uint64(i + 1), Deleted: true}
			if _, err := b.StoreEmbedding(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.PurgeEmbeddings(ctx, model); err != nil {
		t.Fatal(err)
	}
	for fingerprint, want := range map[string]int{model: 0, other: 7} {
		seen := 0
		err := b.ScanEmbeddings(ctx, fingerprint, 1_000_000, func(*event.Embedding) error { seen++; return nil })
		if err != nil || seen != want {
			t.Errorf("%s has %d embeddings (%v), want %d", fingerprint, seen, err, want)
		}
	}
}
