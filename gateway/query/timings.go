package query

import (
	"context"
	"time"

	"videosim/shared/event"
)

// Part is a part of the way of a question. Parts follow one another, but for
// Prepare, Queue and Forward, which lie within Embed.
type Part int

// The parts in the order of the way.
const (
	Wait    Part = iota // for the index to see what the caller demands
	Fetch               // what the index holds of ids
	Embed               // contents to the embedders and back
	Prepare             // there: checks, frames by reference, tokenising
	Queue               // there: waiting for the model
	Forward             // there: the batch that the content was part of
	Search              // the index for the nearest
	parts
)

var partNames = [parts]string{"wait", "fetch", "embed", "prepare", "queue", "forward", "search"}

func (p Part) String() string { return partNames[p] }

// Timings say where the time of one question went: a part that took place
// several times has the sum. They are not safe for concurrent use, so what
// runs beside a question has Timings of its own.
type Timings struct {
	took [parts]time.Duration
	done [parts]bool
}

type timingsKey struct{}

// Timed returns a context whose questions leave their times in Timings.
func Timed(ctx context.Context) (context.Context, *Timings) {
	t := &Timings{}
	return context.WithValue(ctx, timingsKey{}, t), t
}

// TimingsOf returns the Timings of a context; some that nobody reads where it
// is not Timed.
func TimingsOf(ctx context.Context) *Timings {
	if t, ok := ctx.Value(timingsKey{}).(*Timings); ok {
		return t
	}
	return &Timings{}
}

// Since adds the time from start on.
func (t *Timings) Since(p Part, start time.Time) { t.add(p, time.Since(start)) }

func (t *Timings) add(p Part, took time.Duration) {
	t.took[p] += took
	t.done[p] = true
}

// embedders adds what one reply of an embedder says of itself: in each part
// its slowest content's time, for contents of a reply are embedded side by side.
func (t *Timings) embedders(results []*event.EmbedResult) {
	var slowest Timings
	for _, r := range results {
		if said := r.GetTimings(); said != nil {
			var one Timings
			one.add(Prepare, seconds(said.PrepareSeconds))
			one.add(Queue, seconds(said.QueueSeconds))
			one.add(Forward, seconds(said.ForwardSeconds))
			slowest.Slowest(&one)
		}
	}
	for p, took := range slowest.All() {
		t.add(p, took)
	}
}

func seconds(s float32) time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// Slowest takes in what ran side by side: the longer time of each part.
func (t *Timings) Slowest(beside *Timings) {
	for p, took := range beside.All() {
		t.took[p] = max(t.took[p], took)
		t.done[p] = true
	}
}

// All yields the parts that took place, in order.
func (t *Timings) All() func(yield func(Part, time.Duration) bool) {
	return func(yield func(Part, time.Duration) bool) {
		for p := range parts {
			if t.done[p] && !yield(p, t.took[p]) {
				return
			}
		}
	}
}
