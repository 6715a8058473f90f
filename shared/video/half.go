package video

import (
	"encoding/binary"
	"math"

	"github.com/x448/float16"
)

// halfFinite reports whether the float16 with these bits is a number.
func halfFinite(bits uint16) bool { return bits&0x7c00 != 0x7c00 }

func floatFinite(v float32) bool { return math.Float32bits(v)&0x7f800000 != 0x7f800000 }

// halves decodes little-endian float16 bits into dst, and returns the index of
// the first value that is not finite, or -1.
func halves(dst []uint16, data []byte) int {
	bad := -1
	for i := range dst {
		dst[i] = binary.LittleEndian.Uint16(data[2*i:])
		if bad < 0 && !halfFinite(dst[i]) {
			bad = i
		}
	}
	return bad
}

// floats decodes len(dst) values of f's encoding from data, and returns the
// index of the first that is not finite, or -1.
func (f Frames) floats(dst []float32, data []byte) int {
	switch f.Encoding {
	case F16:
		for i := range dst {
			dst[i] = float16.Frombits(binary.LittleEndian.Uint16(data[2*i:])).Float32()
		}
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
	case U8:
		for i := range dst {
			dst[i] = f.Scale*float32(data[i]) + f.Offset
		}
	}
	for i, v := range dst {
		if !floatFinite(v) {
			return i
		}
	}
	return -1
}

// notFiniteHalf returns the index of the first of the little-endian float16 in
// row that is NaN or infinite, or -1. It tests four at once: a value's exponent
// bits, flipped, are zero where it is not finite, and subtracting one from a
// lane borrows from its top bit then, and only then, in the lowest such lane.
func notFiniteHalf(row []byte) int {
	const exponent, one, top = 0x7c007c007c007c00, 0x0001000100010001, 0x8000800080008000
	i := 0
	for ; i+8 <= len(row); i += 8 {
		x := ^binary.LittleEndian.Uint64(row[i:]) & exponent
		if (x-one)&^x&top != 0 {
			break
		}
	}
	for ; i+2 <= len(row); i += 2 {
		if !halfFinite(binary.LittleEndian.Uint16(row[i:])) {
			return i / 2
		}
	}
	return -1
}
