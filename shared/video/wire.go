package video

import (
	"google.golang.org/protobuf/encoding/protowire"

	"videosim/shared/errs"
)

// tf.Example as protobuf defines it:
//
//	Example   { Features features = 1 }
//	Features  { map<string, Feature> feature = 1 }    an entry: key = 1, value = 2
//	Feature   { oneof: BytesList = 1, FloatList = 2, Int64List = 3 }
//	BytesList { repeated bytes value = 1 }
//	Int64List { repeated int64 value = 1 }            packed or not
//
// Fields of other numbers are skipped, repeated messages merge, and the last
// entry of a key wins, as in every protobuf implementation.

type listKind uint8

const (
	noList listKind = iota
	bytesList
	floatList
	int64List
)

func (k listKind) String() string {
	return [...]string{"no list", "a list of bytes", "a list of floats", "a list of integers"}[k]
}

// feature is the value of one key. Its bytes alias the payload.
type feature struct {
	kind  listKind
	bytes [][]byte
	ints  []int64
}

// eachField calls f for every field of a message: raw is the content of
// length-delimited fields, varint the value of the others that matter.
func eachField(msg []byte, f func(num protowire.Number, typ protowire.Type, raw []byte, varint uint64) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return malformed(protowire.ParseError(n))
		}
		msg = msg[n:]
		var raw []byte
		var varint uint64
		switch typ {
		case protowire.BytesType:
			raw, n = protowire.ConsumeBytes(msg)
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(msg)
		default:
			n = protowire.ConsumeFieldValue(num, typ, msg)
		}
		if n < 0 {
			return malformed(protowire.ParseError(n))
		}
		msg = msg[n:]
		if err := f(num, typ, raw, varint); err != nil {
			return err
		}
	}
	return nil
}

func malformed(err error) error {
	return errs.Unlike(errs.Corrupt, "tf.Example", "protobuf in its schema", err.Error())
}

// eachMessage calls f for every embedded message of field number 1.
func eachMessage(msg []byte, f func(raw []byte) error) error {
	return eachField(msg, func(num protowire.Number, typ protowire.Type, raw []byte, _ uint64) error {
		if num != 1 || typ != protowire.BytesType {
			return nil
		}
		return f(raw)
	})
}

// eachFeature calls f for every entry of an Example's feature map. Key and value
// alias the example where they are in one piece.
func eachFeature(example []byte, f func(key, value []byte) error) error {
	return eachMessage(example, func(features []byte) error {
		return eachMessage(features, func(entry []byte) error {
			var key, value []byte
			err := eachField(entry, func(num protowire.Number, typ protowire.Type, raw []byte, _ uint64) error {
				switch {
				case typ != protowire.BytesType:
				case num == 1:
					key = raw
				case num == 2 && value == nil:
					value = raw
				case num == 2:
					value = append(value[:len(value):len(value)], raw...) // messages merge by concatenation
				}
				return nil
			})
			if err != nil {
				return err
			}
			return f(key, value)
		})
	})
}

func parseFeature(value []byte) (feature, error) {
	var out feature
	err := eachField(value, func(num protowire.Number, typ protowire.Type, raw []byte, _ uint64) error {
		kind := listKind(0)
		if typ == protowire.BytesType && num >= 1 && num <= 3 {
			kind = listKind(num)
		}
		if kind == noList {
			return nil
		}
		if kind != out.kind { // a oneof: the last kind stands alone
			out = feature{kind: kind}
		}
		switch kind {
		case bytesList:
			return eachMessage(raw, func(b []byte) error { out.bytes = append(out.bytes, b); return nil })
		case int64List:
			return parseInts(raw, &out.ints)
		}
		return nil
	})
	return out, err
}

func parseInts(list []byte, out *[]int64) error {
	return eachField(list, func(num protowire.Number, typ protowire.Type, raw []byte, varint uint64) error {
		switch {
		case num != 1:
		case typ == protowire.VarintType:
			*out = append(*out, int64(varint))
		case typ == protowire.BytesType:
			for len(raw) > 0 {
				v, n := protowire.ConsumeVarint(raw)
				if n < 0 {
					return malformed(protowire.ParseError(n))
				}
				*out = append(*out, int64(v))
				raw = raw[n:]
			}
		}
		return nil
	})
}

func appendMessage(dst []byte, num protowire.Number, msg []byte) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return protowire.AppendBytes(dst, msg)
}

// appendEntry appends one entry of the feature map; list is the Feature's list
// message of that kind.
func appendEntry(dst []byte, key string, kind listKind, list []byte) []byte {
	value := appendMessage(nil, protowire.Number(kind), list)
	entry := appendMessage(nil, 1, []byte(key))
	return appendMessage(dst, 1, appendMessage(entry, 2, value))
}
