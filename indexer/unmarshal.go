package indexer

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"videosim/shared/event"
)

// Fields of event.Embedding.
const (
	fieldEmbedding = 5
	fieldLate      = 6
	fieldEarly     = 7
)

// unmarshal decodes an embedding without its two halves, which are two thirds
// of its bytes and which the index does not keep. What is not packed as every
// encoder does it is left to the general decoder, halves and all. The scratch
// is memory for the call that the next one uses again.
func unmarshal(data []byte, scratch *[]byte) (*event.Embedding, error) {
	e := new(event.Embedding)
	rest, vector, usual := divide(data, (*scratch)[:0])
	*scratch = rest
	if !usual {
		return e, proto.Unmarshal(data, e)
	}
	if err := proto.Unmarshal(rest, e); err != nil {
		return e, err
	}
	if len(vector) > 0 {
		e.Embedding = make([]float32, len(vector)/4)
		for i := range e.Embedding {
			e.Embedding[i] = math.Float32frombits(binary.LittleEndian.Uint32(vector[4*i:]))
		}
	}
	return e, nil
}

// divide takes the three vectors out of an encoded embedding and appends what
// is left to rest.
func divide(data, rest []byte) (left, vector []byte, usual bool) {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return rest, nil, false
		}
		size := protowire.ConsumeFieldValue(number, kind, data[n:])
		if size < 0 {
			return rest, nil, false
		}
		field := data[:n+size]
		data = data[n+size:]
		if number < fieldEmbedding || number > fieldEarly {
			rest = append(rest, field...)
			continue
		}
		if kind != protowire.BytesType {
			return rest, nil, false
		}
		value, _ := protowire.ConsumeBytes(field[n:])
		if len(value)%4 != 0 || number == fieldEmbedding && vector != nil {
			return rest, nil, false
		}
		if number == fieldEmbedding {
			vector = value
		}
	}
	return rest, vector, true
}
