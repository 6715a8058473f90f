package indexer

import (
	"context"
	"slices"
	"sync"

	"videosim/shared/errs"
	"videosim/shared/vecdb"
)

// faulty is an index that fails on purpose.
type faulty struct {
	vecdb.Index

	mu     sync.Mutex
	lost   int       // writes that are done, and then said to have failed
	down   int       // calls that fail and do nothing
	kind   errs.Kind // of both
	poison string    // an id whose writes are refused as Invalid
	away   bool      // nothing answers
	writes int
}

func (f *faulty) Upsert(ctx context.Context, records []vecdb.Record) error {
	if f.poison != "" && slices.ContainsFunc(records, func(r vecdb.Record) bool { return r.ID == f.poison }) {
		return errs.Field("id", "the store cannot take %q", f.poison)
	}
	return f.write(func() error { return f.Index.Upsert(ctx, records) })
}

func (f *faulty) Delete(ctx context.Context, ids []string) error {
	return f.write(func() error { return f.Index.Delete(ctx, ids) })
}

func (f *faulty) Count(ctx context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return 0, errs.New(errs.Unavailable, "the store is away")
	}
	return f.Index.Count(ctx)
}

func (f *faulty) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *faulty) write(do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.down > 0 {
		f.down--
		return errs.New(f.kind, "the store is down")
	}
	if err := do(); err != nil {
		return err
	}
	if f.lost > 0 {
		f.lost--
		return errs.New(f.kind, "done, but the answer was lost")
	}
	return nil
}
