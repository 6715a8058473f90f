package indexer

import (
	"context"

	lru "github.com/hashicorp/golang-lru/v2"

	"videosim/shared/errs"
	"videosim/shared/vecdb"
)

// known remembers the newest applied sequence of many videos, tombstones
// included, and asks the index about the others.
//
// The index cannot answer for a deleted video, so a tombstone that has left
// the memory could in principle be undone by an older upsert. The streams do
// not let that happen: EMBEDDINGS keeps one message a video and takes no older
// one, so the older upsert can only be a delivery that is still under way, and
// the memory holds more videos than deliveries can be under way.
type known struct {
	index   vecdb.Index
	cache   *lru.Cache[string, uint64]
	rebuild string // the rebuild under way, for which the index is not asked
}

func newKnown(index vecdb.Index, size int) (*known, error) {
	cache, err := lru.New[string, uint64](size)
	if err != nil {
		return nil, err
	}
	return &known{index: index, cache: cache}, nil
}

// during forgets everything when another rebuild begins.
func (k *known) during(rebuild string) {
	if rebuild != "" && rebuild != k.rebuild {
		k.cache.Purge()
	}
	k.rebuild = rebuild
}

// load fills the memory for the changes' ids. A failure is Unavailable whatever
// the index says: nothing is wrong with any embedding when a look-up fails.
func (k *known) load(ctx context.Context, changes []*change) error {
	var ask []string
	for _, c := range changes {
		if _, ok := k.cache.Get(c.effect.GetId()); !ok {
			ask = append(ask, c.effect.GetId())
		}
	}
	if len(ask) == 0 || k.rebuild != "" {
		return nil
	}
	records, err := k.index.Fetch(ctx, ask)
	if err != nil {
		return errs.New(errs.Unavailable, "look up %d sequences: %w", len(ask), err)
	}
	for _, r := range records {
		k.cache.Add(r.ID, r.Sequence)
	}
	return nil
}

// fresh separates the changes that are newer than what the index holds from
// those that it has seen, or something later of the same video.
func (k *known) fresh(changes []*change) (fresh, stale []*change) {
	for _, c := range changes {
		if at, ok := k.cache.Get(c.effect.GetId()); ok && at >= c.effect.GetSequence() {
			stale = append(stale, c)
		} else {
			fresh = append(fresh, c)
		}
	}
	return fresh, stale
}

// applied notes that the index reflects these changes.
func (k *known) applied(changes []*change) {
	for _, c := range changes {
		k.cache.Add(c.effect.GetId(), c.effect.GetSequence())
	}
}
