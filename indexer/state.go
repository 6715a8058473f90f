package indexer

import (
	"context"
	"sync"
	"time"

	"videosim/shared/errs"
)

// state is what readiness shows: whether the index takes writes, and how far
// the first pass over the stream has come.
type state struct {
	mu      sync.Mutex
	failure error     // of the last call to the index; nil when it answered
	since   time.Time // of the first failure in a row
	total   uint64    // embeddings that waited when this process began
	left    uint64    // of those, not yet settled
}

func (s *state) indexAnswers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = nil
}

func (s *state) indexFails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.since = time.Now()
	}
	s.failure = err
}

// begins notes how many embeddings the index is behind by.
func (s *state) begins(waiting uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total, s.left = waiting, waiting
}

// waits notes how many still wait. Once none did, the first pass is over for
// good: what comes later is ordinary lag, which is a metric and no reason to
// take the process out of service.
func (s *state) waits(waiting uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = min(s.left, waiting)
}

// writable is the readiness check of the index.
func (s *state) writable(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		return nil
	}
	return errs.New(errs.Unavailable, "the index has not taken a write for %s: %w",
		time.Since(s.since).Round(time.Second), s.failure)
}

// replayed is the readiness check of an index that is rebuilt at every start:
// before the end of the replay its answers would miss videos.
func (s *state) replayed(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		return nil
	}
	return errs.New(errs.Unavailable, "replaying EMBEDDINGS: %d of %d embeddings to go", s.left, s.total)
}
