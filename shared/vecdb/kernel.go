package vecdb

import "unsafe"

// scanArgs is one call of the scan kernel: groups of four rows against one
// quantised query. Which rows is said by index, so that a filtered scan costs
// what its rows cost. The assembly reads the fields by their offsets.
type scanArgs struct {
	rows   *int8    // the numbers of row 0, followed by the other rows'
	index  *int32   // 4·groups row numbers
	scale  *float32 // one for each number in index, as are the next three
	slack  *float32
	upper  *float32 // out: scale·queryScale·(q·p) + slack·queryNorm
	masks  *uint8   // out, one a group: bit i is set unless upper of its i-th row < threshold
	query  *int16   // stride numbers
	stride int      // numbers in a row, a multiple of 16
	groups int      // at least 1

	queryScale float32
	queryNorm  float32
	threshold  float32
}

// groupRows is the number of rows whose products the kernel computes side by side.
const groupRows = 4

// scanPortable is the kernel in plain Go, and what the assembly is tested against.
func scanPortable(a *scanArgs) {
	n := a.groups * groupRows
	index := unsafe.Slice(a.index, n)
	scale, slack := unsafe.Slice(a.scale, n), unsafe.Slice(a.slack, n)
	query := unsafe.Slice(a.query, a.stride)
	upper, masks := unsafe.Slice(a.upper, n), unsafe.Slice(a.masks, a.groups)
	clear(masks)
	for i := range n {
		row := unsafe.Slice((*int8)(unsafe.Add(unsafe.Pointer(a.rows), int(index[i])*a.stride)), a.stride)
		u := float32(dotPortable(row, query))*(scale[i]*a.queryScale) + slack[i]*a.queryNorm
		upper[i] = u
		if !(u < a.threshold) { // true for NaN as well: what cannot be bounded is kept
			masks[i/groupRows] |= 1 << (i % groupRows)
		}
	}
}

func dotPortable(row []int8, query []int16) int32 {
	query = query[:len(row)]
	var s0, s1, s2, s3 int32
	for i := 0; i+4 <= len(row); i += 4 {
		s0 += int32(row[i]) * int32(query[i])
		s1 += int32(row[i+1]) * int32(query[i+1])
		s2 += int32(row[i+2]) * int32(query[i+2])
		s3 += int32(row[i+3]) * int32(query[i+3])
	}
	return s0 + s1 + s2 + s3
}
