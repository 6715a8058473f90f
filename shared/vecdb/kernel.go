package vecdb

import "unsafe"

// scanArgs is one call of the scan kernel: groups of four rows against one
// quantised query. Which rows is said by index, so that a filtered scan costs
// what its rows cost. The assembly reads the fields by their offsets.
type scanArgs struct {
	rows     *byte    // the numbers of row 0, followed by the other rows'
	index    *int32   // 4·groups row numbers, and aheadRows more that are worth fetching, or 0
	scale    *float32 // one for each number in index, as are the next two
	slack    *float32
	upper    *float32 // out: scale·queryScale·(2·(u·p) − offset) + slack·queryNorm + extra
	masks    *uint8   // out, one a group: bit i is set unless upper of its i-th row < threshold
	query    *int8    // 2·rowBytes numbers
	rowBytes int      // a multiple of 32
	groups   int      // at least 1

	offset     int32
	queryScale float32
	queryNorm  float32
	extra      float32
	threshold  float32
}

// groupRows is the number of rows whose products the kernel computes side by side.
const groupRows = 4

// aheadRows is how far ahead of the products the assembly fetches rows.
const aheadRows = 32

// scanPortable is the kernel in plain Go, and what the assembly is tested against.
func scanPortable(a *scanArgs) {
	n := a.groups * groupRows
	index := unsafe.Slice(a.index, n)
	scale, slack := unsafe.Slice(a.scale, n), unsafe.Slice(a.slack, n)
	query := unsafe.Slice(a.query, 2*a.rowBytes)
	upper, masks := unsafe.Slice(a.upper, n), unsafe.Slice(a.masks, a.groups)
	clear(masks)
	for i := range n {
		row := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(a.rows), int(index[i])*a.rowBytes)), a.rowBytes)
		u := float32(2*dotPortable(row, query)-a.offset)*(scale[i]*a.queryScale) + slack[i]*a.queryNorm + a.extra
		upper[i] = u
		if !(u < a.threshold) { // true for NaN as well: what cannot be bounded is kept
			masks[i/groupRows] |= 1 << (i % groupRows)
		}
	}
}

func dotPortable(row []byte, query []int8) int32 {
	var low, high int32
	for at := 0; at+32 <= len(row); at += 32 {
		bytes, first, second := row[at:at+32], query[2*at:2*at+32], query[2*at+32:2*at+64]
		for i, b := range bytes {
			low += int32(b&15) * int32(first[i])
			high += int32(b>>4) * int32(second[i])
		}
	}
	return low + high
}

// dotArgs is one call of the second kernel: the fp32 products of some rows
// with the query.
type dotArgs struct {
	rows    *float32 // the numbers of row 0, followed by the other rows'
	index   *int32   // n row numbers, and once more the last
	product *float32 // out, one a row
	query   *float32
	dim     int // for the assembly a multiple of 32
	n       int // at least 1
}

// dotPortableRows is the second kernel in plain Go.
func dotPortableRows(a *dotArgs) {
	index, out := unsafe.Slice(a.index, a.n), unsafe.Slice(a.product, a.n)
	query := unsafe.Slice(a.query, a.dim)
	for i, r := range index {
		row := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(a.rows), int(r)*a.dim*4)), a.dim)
		var s0, s1, s2, s3 float32
		j := 0
		for ; j+4 <= len(row); j += 4 {
			s0 += row[j] * query[j]
			s1 += row[j+1] * query[j+1]
			s2 += row[j+2] * query[j+2]
			s3 += row[j+3] * query[j+3]
		}
		for ; j < len(row); j++ {
			s0 += row[j] * query[j]
		}
		out[i] = (s0 + s1) + (s2 + s3)
	}
}
