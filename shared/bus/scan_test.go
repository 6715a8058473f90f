package bus_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"videosim/shared/event"
	"videosim/shared/testkit"
)

// A scan and a sample show the latest embedding of each video of one model.
func TestScanAndSampleEmbeddings(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	const videos = 300
	for i := range videos {
		e := embedding(fmt.Sprintf("v%d", i), uint64(i+1))
		e.Deleted = i%10 == 0
		if _, err := b.StoreEmbedding(within(t), e); err != nil {
			t.Fatal(err)
		}
	}
	newer := embedding("v5", 1000)
	other := embedding("v6", 2000)
	other.Fingerprint = "another"
	for _, e := range []*event.Embedding{newer, other} {
		if _, err := b.StoreEmbedding(within(t), e); err != nil {
			t.Fatal(err)
		}
	}
	sequences := map[string]uint64{}
	start := time.Now()
	must(t, b.ScanEmbeddings(within(t), "fp", 1000, func(e *event.Embedding) error {
		if _, twice := sequences[e.Id]; twice {
			t.Errorf("%s came twice", e.Id)
		}
		sequences[e.Id] = e.Sequence
		return nil
	}))
	if len(sequences) != videos || sequences["v5"] != 1000 || sequences["v6"] != 7 {
		t.Errorf("scanned %d videos, v5 at %d, v6 at %d", len(sequences), sequences["v5"], sequences["v6"])
	}
	if took := time.Since(start); took < 250*time.Millisecond {
		t.Errorf("%d videos at 1,000 a second took %s", videos, took)
	}
	enough := errors.New("enough")
	if err := b.ScanEmbeddings(within(t), "fp", 1000, func(*event.Embedding) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a scan that is told to end: %v", err)
	}
	must(t, b.ScanEmbeddings(within(t), "nobody", 1000, func(*event.Embedding) error { return enough }))

	all, err := b.SampleEmbeddings(within(t), "fp", 10*videos)
	must(t, err)
	if len(all) != videos*9/10 {
		t.Errorf("a sample of all holds %d videos, want %d", len(all), videos*9/10)
	}
	some, err := b.SampleEmbeddings(within(t), "fp", 50)
	must(t, err)
	if len(some) < 25 || len(some) > 50 {
		t.Errorf("a sample of 50 holds %d videos", len(some))
	}
	for _, e := range some {
		if e.Fingerprint != "fp" || e.Deleted {
			t.Errorf("the sample holds %v", e)
		}
	}
	if none, err := b.SampleEmbeddings(within(t), "nobody", 5); err != nil || len(none) != 0 {
		t.Errorf("a model without embeddings: %d, %v", len(none), err)
	}
}
