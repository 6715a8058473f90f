package video

import "fmt"

// Video is one video as the suite stores and embeds it. Empty fields are
// allowed, but for the id.
type Video struct {
	ID         string
	Title      string
	ASRText    string // what was said in it, by speech recognition
	CategoryID int64  // 0: none
	TagIDs     []int64
	Frames     Frames
}

// Encoding is how frame values are stored, little-endian.
type Encoding uint8

const (
	F16 Encoding = iota // IEEE half precision
	F32
	U8 // value = Scale·byte + Offset
)

func (e Encoding) String() string {
	switch e {
	case F16:
		return "f16"
	case F32:
		return "f32"
	case U8:
		return "u8"
	}
	return fmt.Sprintf("encoding(%d)", uint8(e))
}

// Bytes is the size of one value; 0 for an encoding that does not exist.
func (e Encoding) Bytes() int {
	switch e {
	case F16:
		return 2
	case F32:
		return 4
	case U8:
		return 1
	}
	return 0
}

// Frames are the features of a video's frames, in order of time.
type Frames struct {
	Encoding      Encoding
	Dim           int    // values a frame
	Count         int    // frames
	Data          []byte // Count×Dim values, row-major
	Scale, Offset float32
}
