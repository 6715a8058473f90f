package bus_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/testkit"
)

func embedding(id string, sequence uint64) *event.Embedding {
	return &event.Embedding{Id: id, Fingerprint: "fp", Sequence: sequence, Embedding: []float32{float32(sequence)}}
}

func TestOlderNeverWins(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	for _, step := range []struct {
		sequence uint64
		stored   bool
	}{{5, true}, {5, false}, {4, false}, {7, true}, {6, false}} {
		stored, err := b.StoreEmbedding(within(t), embedding("v", step.sequence))
		must(t, err)
		if stored != step.stored {
			t.Errorf("sequence %d stored: %t, expected %t", step.sequence, stored, step.stored)
		}
	}
	if state, err := b.StreamState(within(t), event.StreamEmbeddings); err != nil || state.Last != 2 {
		t.Errorf("%d messages were stored, expected 2 (%v): a redelivery must change nothing", state.Last, err)
	}
}

// TestRacingStores: many embedders store the versions of one video in any
// order; the newest must be there at the end, and may never be overwritten.
func TestRacingStores(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	buses := []*bus.Bus{testkit.Connect(t, s), testkit.Connect(t, s)}
	const versions = 24
	var running sync.WaitGroup
	for i, version := range rand.Perm(versions) {
		running.Go(func() {
			if _, err := buses[i%2].StoreEmbedding(within(t), embedding("v", uint64(version+1))); err != nil {
				t.Errorf("version %d: %v", version+1, err)
			}
		})
	}
	running.Wait()
	last, err := buses[0].LastEmbedding(within(t), "fp", "v")
	must(t, err)
	if last.GetSequence() != versions || last.GetEmbedding()[0] != versions {
		t.Errorf("the last embedding is of %d, expected %d", last.GetSequence(), versions)
	}
}

func TestStoreManyAtOnce(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	var all []*event.Embedding
	for i := range 100 {
		all = append(all, embedding(fmt.Sprint("v", i), uint64(i+1)))
	}
	all = append(all, embedding("v0", 500), &event.Embedding{Id: "w", Fingerprint: "fp"})
	for i, err := range b.StoreEmbeddings(within(t), all) {
		if last := i == len(all)-1; last != (err != nil) {
			t.Errorf("embedding %d: %v", i, err)
		} else if last && errs.FieldOf(err) != "sequence" {
			t.Errorf("error %v, expected it to name the sequence", err)
		}
	}
	if last, err := b.LastEmbedding(within(t), "fp", "v0"); err != nil || last.GetSequence() != 500 {
		t.Errorf("v0 is of %d, expected 500 (%v)", last.GetSequence(), err)
	}
	if _, err := b.LastEmbedding(within(t), "other", "v0"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("another model's: %v, expected not-found", err)
	}
}

func TestStrangerInEmbeddingsIsReplaced(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	raw(t, b, event.EmbeddingSubject("fp", "v"), nil, []byte("not ours"))
	if stored, err := b.StoreEmbedding(within(t), embedding("v", 1)); err != nil || !stored {
		t.Errorf("stored %t, %v", stored, err)
	}
}

func BenchmarkStoreEmbeddings(b *testing.B) {
	bb := testkit.Bus(b)
	vector := make([]float32, 256)
	n := 0
	for b.Loop() {
		batch := make([]*event.Embedding, 32)
		for i := range batch {
			n++
			batch[i] = &event.Embedding{Id: fmt.Sprint("v", n), Fingerprint: "fp", Sequence: uint64(n), Embedding: vector, Late: vector, Early: vector}
		}
		for _, err := range bb.StoreEmbeddings(b.Context(), batch) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "embeddings/s")
}
