package vecdb

import "unsafe"

// scanArgs is one call of the scan kernel: groups of four rows against one
// quantised query. The assembly reads its fields by their offsets.
type scanArgs struct {
	rows   *int8    // 4·groups rows of stride numbers each
	scale  *float32 // a row
	slack  *float32 // a row
	query  *int16   // stride numbers
	upper  *float32 // out, a row: scale·queryScale·(q·p) + slack·queryNorm
	masks  *uint8   // out, a group: bit i is set unless upper of row i < threshold
	stride int      // a multiple of 16
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
	rows := unsafe.Slice(a.rows, n*a.stride)
	scale, slack := unsafe.Slice(a.scale, n), unsafe.Slice(a.slack, n)
	query := unsafe.Slice(a.query, a.stride)
	upper, masks := unsafe.Slice(a.upper, n), unsafe.Slice(a.masks, a.groups)
	clear(masks)
	for r := range n {
		sum := dotPortable(rows[r*a.stride:(r+1)*a.stride], query)
		u := float32(sum)*(scale[r]*a.queryScale) + slack[r]*a.queryNorm
		upper[r] = u
		if !(u < a.threshold) { // true for NaN as well: what cannot be bounded is kept
			masks[r/groupRows] |= 1 << (r % groupRows)
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
