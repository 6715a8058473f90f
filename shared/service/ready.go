package service

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// checkTimeout bounds one readiness check.
	checkTimeout = 2 * time.Second
	// reportAge is how long one round of checks answers for: probes of any
	// number cost one round a second.
	reportAge = time.Second
)

// checks are the named conditions of readiness.
type checks struct {
	mu      sync.Mutex // guards list and changed
	list    []*check
	changed bool       // since the last round
	round   sync.Mutex // one round at a time; guards last and at
	last    readiness
	at      time.Time
}

type check struct {
	name string
	test func(context.Context) error
	busy atomic.Bool // an earlier call has not come back
}

// readiness is the body of /readyz.
type readiness struct {
	Ready  bool          `json:"ready"`
	Checks []checkResult `json:"checks"`
}

type checkResult struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// set takes the place of a check of that name.
func (c *checks) set(name string, test func(context.Context) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = true
	one := &check{name: name, test: test}
	if i := slices.IndexFunc(c.list, func(c *check) bool { return c.name == name }); i >= 0 {
		c.list[i] = one
	} else {
		c.list = append(c.list, one)
	}
}

// report runs all checks at the same time, unless that was done just now.
func (c *checks) report() readiness {
	c.round.Lock()
	defer c.round.Unlock()
	c.mu.Lock()
	list, changed := slices.Clone(c.list), c.changed
	c.changed = false
	c.mu.Unlock()
	if time.Since(c.at) < reportAge && !changed {
		return c.last
	}
	results := make([]checkResult, len(list))
	var all sync.WaitGroup
	for i, one := range list {
		all.Go(func() { results[i] = one.run() })
	}
	all.Wait()
	// Without a check nothing has started yet.
	ready := len(results) > 0 && !slices.ContainsFunc(results, func(r checkResult) bool { return !r.Ready })
	c.last, c.at = readiness{Ready: ready, Checks: results}, time.Now()
	return c.last
}

var errNoAnswer = errors.New("no answer within " + checkTimeout.String())

// run calls the test with a deadline. One that ignores the deadline is not
// called again until it comes back, so probes cannot pile up.
func (c *check) run() checkResult {
	if c.busy.Swap(true) {
		return checkResult{Name: c.name, Reason: "the last check has not come back"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer c.busy.Store(false)
		done <- c.test(ctx)
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = errNoAnswer
	}
	if err != nil {
		return checkResult{Name: c.name, Reason: err.Error()}
	}
	return checkResult{Name: c.name, Ready: true}
}
