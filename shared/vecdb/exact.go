package vecdb

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"videosim/shared/errs"
)

// Exact is an Index in this process's memory that compares every row: recall
// is 1.0. It keeps nothing on disk; whoever opens it fills it.
//
// Locks, in the order in which they are taken: write, layout, ids, a block's.
// A search holds layout for reading and each block in turn; the writer holds
// ids and one block while it replaces one row.
type Exact struct {
	dim    int
	stride int // dim rounded up to the kernel's step
	scan   func(*scanArgs)
	dots   func(*dotArgs)
	pool   sync.Pool // of *scanner

	write  sync.Mutex   // one writer
	layout sync.RWMutex // held for writing while slots move or memory goes
	closed bool         // guarded by layout

	idsMu sync.RWMutex
	ids   map[string]uint32 // id → slot: block × blockRows + place
	free  []uint32          // empty slots, guarded by write
	used  int               // slots ever used, guarded by write

	blocks  atomic.Pointer[[]*block] // replaced by the writer, never changed in place
	deletes atomic.Uint64            // rows deleted since the start
}

var errClosed = errs.New(errs.Unavailable, "exact index: closed")

// NewExact returns an empty index of vectors of dim numbers.
func NewExact(dim int) *Exact {
	const step = 64 // of the kernel
	x := &Exact{dim: dim, stride: (dim + step - 1) / step * step, scan: scanKernel(), dots: dotKernel(dim), ids: map[string]uint32{}}
	x.blocks.Store(&[]*block{})
	x.pool.New = newScanner
	return x
}

// Upsert implements Index. Each record becomes visible by itself, at once.
func (x *Exact) Upsert(ctx context.Context, records []Record) error {
	if err := checkRecords(records, x.dim); err != nil {
		return err
	}
	rows := x.prepare(records)
	x.write.Lock()
	defer x.write.Unlock()
	if x.closed {
		return errClosed
	}
	for i := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.put(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// prepare brings records into their stored form, by all cores where they are many.
func (x *Exact) prepare(records []Record) []row {
	const least = 64 // records that are worth another core's start
	rows := make([]row, len(records))
	quant := make([]byte, len(records)*x.stride/2)
	share := max(least, (len(records)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var wait sync.WaitGroup
	for start := 0; start < len(records); start += share {
		wait.Go(func() {
			for i := start; i < min(start+share, len(records)); i++ {
				rows[i] = newRow(&records[i], quant[i*x.stride/2:(i+1)*x.stride/2])
			}
		})
	}
	wait.Wait()
	return rows
}

func (x *Exact) put(r *row) error {
	id := packedID(r.rest)
	slot, known := x.ids[id] // only writers change ids, and this is the only one
	if !known {
		var err error
		if slot, err = x.take(); err != nil {
			return err
		}
	}
	x.idsMu.Lock()
	defer x.idsMu.Unlock()
	x.ids[id] = slot // the key lives in the row's own memory
	x.block(slot).set(int(slot%blockRows), r)
	return nil
}

// take returns an empty slot, in a new block if need be.
func (x *Exact) take() (uint32, error) {
	if n := len(x.free); n > 0 {
		slot := x.free[n-1]
		x.free = x.free[:n-1]
		return slot, nil
	}
	blocks := *x.blocks.Load()
	if x.used == len(blocks)*blockRows {
		b, err := newBlock(x.dim, x.stride)
		if err != nil {
			return 0, errs.New(errs.Unavailable, "exact index: %w", err)
		}
		grown := append(slices.Clone(blocks), b)
		x.blocks.Store(&grown)
	}
	x.used++
	return uint32(x.used - 1), nil
}

func (x *Exact) block(slot uint32) *block { return (*x.blocks.Load())[slot/blockRows] }

// Delete implements Index.
func (x *Exact) Delete(ctx context.Context, ids []string) error {
	if err := checkIDs("id", ids); err != nil {
		return err
	}
	x.write.Lock()
	defer x.write.Unlock()
	if x.closed {
		return errClosed
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		x.remove(id)
	}
	if len(x.free) > max(2*blockRows, len(x.ids)) {
		return x.compact()
	}
	return nil
}

func (x *Exact) remove(id string) {
	slot, known := x.ids[id]
	if !known {
		return
	}
	x.deletes.Add(1)
	x.idsMu.Lock()
	defer x.idsMu.Unlock()
	delete(x.ids, id)
	x.block(slot).clear(int(slot % blockRows))
	x.free = append(x.free, slot)
}

// compact moves the last rows into the empty slots and gives the emptied
// blocks back. It runs when more than half of the slots are empty; searches
// wait for it (one copy of 1.3 KB a moved row at 256-d).
func (x *Exact) compact() error {
	x.layout.Lock()
	defer x.layout.Unlock()
	x.idsMu.Lock()
	defer x.idsMu.Unlock()

	live := uint32(len(x.ids))
	slices.Sort(x.free) // those below live are as many as the rows at or past it
	ids := make(map[string]uint32, live)
	next := 0
	for id, slot := range x.ids {
		if slot >= live {
			from := x.block(slot).view(int(slot%blockRows), x.dim, x.stride)
			slot = x.free[next]
			next++
			x.block(slot).set(int(slot%blockRows), &from)
		}
		ids[id] = slot
	}
	x.ids, x.free, x.used = ids, nil, int(live)
	return x.shrink((int(live) + blockRows - 1) / blockRows)
}

// shrink gives back all blocks after the first n.
func (x *Exact) shrink(n int) error {
	blocks := *x.blocks.Load()
	kept := slices.Clone(blocks[:n])
	x.blocks.Store(&kept)
	if n > 0 {
		last := kept[n-1]
		last.used = min(last.used, x.used-(n-1)*blockRows)
	}
	var failed []error
	for _, b := range blocks[n:] {
		failed = append(failed, release(b.memory))
	}
	return errors.Join(failed...)
}

// Barrier implements Index: a write is visible when it returns.
func (x *Exact) Barrier(ctx context.Context) error { return ctx.Err() }

// Count implements Index.
func (x *Exact) Count(ctx context.Context) (int64, error) {
	x.idsMu.RLock()
	defer x.idsMu.RUnlock()
	return int64(len(x.ids)), ctx.Err()
}

// Fetch implements Index.
func (x *Exact) Fetch(ctx context.Context, ids []string) ([]Record, error) {
	if err := checkIDs("id", ids); err != nil {
		return nil, err
	}
	x.layout.RLock()
	defer x.layout.RUnlock()
	if x.closed {
		return nil, errClosed
	}
	var records []Record
	const chunk = 128 // of ids under one lock: the writer waits for 128 copies of a row
	for part := range slices.Chunk(ids, chunk) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		records = x.fetch(part, records)
	}
	return records, nil
}

func (x *Exact) fetch(ids []string, records []Record) []Record {
	x.idsMu.RLock()
	defer x.idsMu.RUnlock()
	slots := make([]uint32, 0, len(ids))
	for _, id := range ids {
		if slot, known := x.ids[id]; known {
			slots = append(slots, slot)
		}
	}
	vectors := make([]float32, 0, len(slots)*x.dim)
	for _, slot := range slots {
		stored := x.block(slot).view(int(slot%blockRows), x.dim, x.stride)
		vectors = append(vectors, stored.embedding...)
		record := Record{
			Embedding:   vectors[len(vectors)-x.dim : len(vectors) : len(vectors)],
			CategoryID:  stored.category,
			PublishedAt: loadedTime(stored.published),
			Sequence:    stored.sequence,
		}
		unpack(stored.rest, &record)
		records = append(records, record)
	}
	return records
}

// Close implements Index: it gives the memory back. Calls after it fail with
// Unavailable.
func (x *Exact) Close() error {
	x.write.Lock()
	defer x.write.Unlock()
	x.layout.Lock()
	defer x.layout.Unlock()
	x.idsMu.Lock()
	defer x.idsMu.Unlock()
	if x.closed {
		return nil
	}
	x.closed = true
	x.ids, x.free, x.used = nil, nil, 0
	return x.shrink(0)
}
