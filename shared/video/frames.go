package video

import "videosim/shared/errs"

// Most values that one video's frames may have, so that products of sizes
// cannot overflow: far above 32 frames of 1,536.
const maxFrameValues = 1 << 28

// check says whether sizes and data agree. Frames of no count may be zero.
func (f Frames) check() error {
	if f.Count == 0 && len(f.Data) == 0 {
		return nil
	}
	if f.Encoding.Bytes() == 0 {
		return errs.Field("frames.encoding", "expected f16, f32 or u8, found %s", f.Encoding)
	}
	if f.Count < 0 || f.Dim <= 0 || f.Count > maxFrameValues/f.Dim {
		return errs.Field("frames", "count %d and dim %d are out of range", f.Count, f.Dim)
	}
	if want := f.Count * f.Dim * f.Encoding.Bytes(); len(f.Data) != want {
		return errs.Field("frames.data", "expected %d bytes (%d frames of %d %s), found %d",
			want, f.Count, f.Dim, f.Encoding, len(f.Data))
	}
	return nil
}

// Check is the test that every video passes before its frames are used: sizes
// agree and a frame has dim values. Errors are Invalid, with the field.
func (f Frames) Check(dim int) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.Count > 0 && f.Dim != dim {
		return errs.Field("frames.dim", "expected %d, found %d", dim, f.Dim)
	}
	return nil
}

// Float32s decodes all frames, row-major, Count×Dim. Call Check before.
func (f Frames) Float32s() []float32 {
	out := make([]float32, f.Count*f.Dim)
	f.floats(out, f.Data)
	return out
}

// half writes the frames' bits to dst as far as it reaches.
func (f Frames) half(id string, dst []uint16) error {
	if bad := halves(dst, f.Data); bad >= 0 {
		return notFinite(id, bad/f.Dim)
	}
	return nil
}

// float writes the frames' values to dst as far as it reaches.
func (f Frames) float(id string, dst []float32) error {
	if bad := f.floats(dst, f.Data); bad >= 0 {
		return notFinite(id, bad/f.Dim)
	}
	return nil
}

func notFinite(id string, frame int) error {
	return errs.Field("frames.data", "video %q: frame %d holds a value that is not finite", id, frame)
}
