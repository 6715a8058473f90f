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
	last    uint64    // of the stream when this process began
	total   uint64    // embeddings that waited then
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

// begins notes what there was when this process began: the last sequence of
// the stream, and how many embeddings the index is behind by.
func (s *state) begins(last, waiting uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.total, s.left = last, waiting, waiting
}

// waits notes up to which sequence all are settled, and how many still wait.
// The first pass is over when everything of the beginning is settled, however
// much has come since; what comes later is ordinary lag, which is a metric and
// no reason to take the process out of service.
func (s *state) waits(settled, waiting uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if settled >= s.last {
		waiting = 0
	}
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
