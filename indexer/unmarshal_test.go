package indexer

import (
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"videosim/shared/event"
)

// TestUnmarshalAgrees: but for the halves, what the general decoder finds, on
// whole messages, on the same cut or damaged anywhere, and on odd encodings.
func TestUnmarshalAgrees(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	whole := marshal(t, bigEmbedding(rng, 1))
	messages := [][]byte{nil, whole, marshal(t, tombstone("a", 3)), marshal(t, upsert("b", 4)),
		slices.Concat(whole, marshal(t, upsert("c", 5))), // two vectors: joined
		protowire.AppendFixed32(protowire.AppendTag(slices.Clone(whole), fieldEmbedding, protowire.Fixed32Type), 1),
		protowire.AppendBytes(protowire.AppendTag(slices.Clone(whole), fieldLate, protowire.BytesType), []byte("odd")),
	}
	for range 2000 {
		cut := slices.Clone(whole[:rng.IntN(len(whole))])
		damaged := slices.Clone(whole)
		damaged[rng.IntN(len(damaged))] ^= byte(1 << rng.IntN(8))
		head := slices.Clone(whole)
		head[rng.IntN(60)] ^= byte(1 << rng.IntN(8))
		messages = append(messages, cut, damaged, head)
	}
	var scratch []byte
	for _, data := range messages {
		want := new(event.Embedding)
		wantErr := proto.Unmarshal(data, want)
		got, err := unmarshal(data, &scratch)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%x: %v, the general decoder says %v", data, err, wantErr)
		}
		if err != nil {
			continue
		}
		want.Late, want.Early, got.Late, got.Early = nil, nil, nil, nil
		if a, b := marshal(t, got), marshal(t, want); !slices.Equal(a, b) {
			t.Fatalf("%x: %v, the general decoder finds %v", data, got, want)
		}
	}
}
