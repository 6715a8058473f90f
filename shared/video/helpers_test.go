package video_test

import (
	"encoding/binary"
	"testing"

	"github.com/x448/float16"
	"google.golang.org/protobuf/encoding/protowire"

	"videosim/shared/video"
)

// halfFrames are count frames of dim float16 with the values 1, 2, 3…
func halfFrames(dim, count int) video.Frames {
	data := make([]byte, 0, 2*dim*count)
	for i := range dim * count {
		data = binary.LittleEndian.AppendUint16(data, float16.Fromfloat32(float32(i+1)).Bits())
	}
	return video.Frames{Encoding: video.F16, Dim: dim, Count: count, Data: data}
}

func example(t testing.TB, v video.Video) []byte {
	t.Helper()
	payload, err := video.AppendExample(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func message(num protowire.Number, msg []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), msg)
}

// rawFeature is one map entry whose list, of field number kind, holds the
// values as length-delimited fields.
func rawFeature(key string, kind protowire.Number, values ...string) []byte {
	var list []byte
	for _, v := range values {
		list = append(list, message(1, []byte(v))...)
	}
	return append(message(1, []byte(key)), message(2, message(kind, list))...)
}

func rawExample(entries ...[]byte) []byte {
	var features []byte
	for _, e := range entries {
		features = append(features, message(1, e)...)
	}
	return message(1, features)
}
