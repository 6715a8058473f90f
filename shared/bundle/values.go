package bundle

import (
	"encoding/binary"
	"math"

	"videosim/shared/errs"
)

// Float32s returns the tensor's values, row-major. F32, F16 and BF16 are
// exact; F64 is rounded. Other types are errs.Invalid.
func (t NamedTensor) Float32s() ([]float32, error) {
	if t.DType == "F32" {
		return decode(t.Data, 4, func(b []byte) float32 {
			return math.Float32frombits(binary.LittleEndian.Uint32(b))
		}), nil
	}
	wide, err := t.Float64s()
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(wide))
	for i, v := range wide {
		out[i] = float32(v)
	}
	return out, nil
}

// Float64s returns the values of any floating-point tensor, exactly.
func (t NamedTensor) Float64s() ([]float64, error) {
	switch t.DType {
	case "F64":
		return decode(t.Data, 8, func(b []byte) float64 {
			return math.Float64frombits(binary.LittleEndian.Uint64(b))
		}), nil
	case "F32":
		return decode(t.Data, 4, func(b []byte) float64 {
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}), nil
	case "F16":
		return decode(t.Data, 2, func(b []byte) float64 {
			return halfValue(binary.LittleEndian.Uint16(b))
		}), nil
	case "BF16":
		return decode(t.Data, 2, func(b []byte) float64 {
			return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
		}), nil
	}
	return nil, errs.New(errs.Invalid, "tensor %q: expected floating-point values, found %s", t.Name, t.DType)
}

// Int64s returns the values of an I64, I32 or BOOL tensor.
func (t NamedTensor) Int64s() ([]int64, error) {
	switch t.DType {
	case "I64":
		return decode(t.Data, 8, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }), nil
	case "I32":
		return decode(t.Data, 4, func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) }), nil
	case "BOOL":
		return decode(t.Data, 1, func(b []byte) int64 { return int64(b[0]) }), nil
	}
	return nil, errs.New(errs.Invalid, "tensor %q: expected whole numbers, found %s", t.Name, t.DType)
}

// Float32Tensor packs values into an F32 tensor of the given shape.
func Float32Tensor(name string, values []float32, shape ...int64) NamedTensor {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return NamedTensor{Name: name, DType: "F32", Shape: shape, Data: data}
}

func decode[T any](data []byte, width int, value func([]byte) T) []T {
	out := make([]T, len(data)/width)
	for i := range out {
		out[i] = value(data[i*width:])
	}
	return out
}

// halfValue is the value of an IEEE 754 binary16: 1 sign bit, 5 of exponent
// (bias 15), 10 of fraction.
func halfValue(bits uint16) float64 {
	sign := 1.0
	if bits&0x8000 != 0 {
		sign = -1
	}
	exponent, fraction := int(bits>>10&0x1f), float64(bits&0x3ff)
	switch {
	case exponent == 0x1f && fraction != 0:
		return math.NaN()
	case exponent == 0x1f:
		return math.Inf(int(sign))
	case exponent == 0:
		return sign * math.Ldexp(fraction, -24)
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}
