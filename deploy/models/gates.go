package models

import (
	"context"
	"fmt"
	"math"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

// gates are the conditions of a promotion. Each is printed with what was
// expected and found; all are checked, so that one call tells all that is
// missing. Events that arrive meanwhile are no fault: every count allows for
// as many as were stored during the check.
type gates struct {
	*promoter
	index       *vecdb.Milvus
	fingerprint string
	promoted    string // the model that the alias points to now; "": none
	failed      int
}

// say prints a gate's result.
func (g *gates) say(ok bool, gate, format string, args ...any) {
	word := "ok"
	if !ok {
		word, g.failed = "FAILED", g.failed+1
	}
	fmt.Fprintf(g.out, "%-6s %s: %s\n", word, gate, fmt.Sprintf(format, args...))
}

func (g *gates) check(ctx context.Context) error {
	for _, gate := range []func(context.Context) error{g.pending, g.indexed, g.rows, g.quality} {
		if err := gate(ctx); err != nil {
			return err
		}
	}
	if g.failed > 0 {
		return errs.New(errs.Invalid, "%s is not promoted: %d gates failed", g.index.Collection(), g.failed)
	}
	return nil
}

// pending: the collection has seen every event that was published when the
// check began.
func (g *gates) pending(ctx context.Context) error {
	const gate = "nothing pending"
	for _, c := range []struct{ stream, durable, service string }{
		{event.StreamVideos, "embedder-" + g.fingerprint, "an embedder"},
		{event.StreamEmbeddings, "indexer-" + g.fingerprint, "an indexer"},
	} {
		_, err := g.bus.ConsumerInfo(ctx, c.stream, c.durable)
		if err != nil && errs.KindOf(err) == errs.NotFound {
			g.say(false, gate, "expected consumer %s on %s, found none: start %s with the new bundle", c.durable, c.stream, c.service)
			return nil
		}
		if err != nil {
			return err
		}
	}
	state, err := g.bus.StreamState(ctx, event.StreamVideos)
	if err != nil {
		return err
	}
	seen := g.awaitSequence(ctx, state.Last)
	g.say(seen >= state.Last, gate, "expected the collection to have seen sequence %d or later, found %d", state.Last, seen)
	if seen < state.Last {
		if waiting, err := g.waiting(ctx, g.fingerprint); err == nil {
			fmt.Fprintf(g.out, "note   %d messages wait for the services of %s\n", waiting, g.fingerprint)
		}
	}
	return ctx.Err()
}

// awaitSequence waits until the collection has seen an event, and returns how
// far it is in the end.
func (g *gates) awaitSequence(ctx context.Context, sequence uint64) uint64 {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Wait)
	defer cancel()
	progress := bus.NewProgress(g.bus, g.fingerprint)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = progress.Run(ctx) // what it could not do shows in the sequence
	}()
	_ = progress.Wait(ctx, sequence) // the same
	cancel()
	<-ended
	return progress.Sequence()
}

// waiting is how many messages a model's services have not settled.
func (p *promoter) waiting(ctx context.Context, fingerprint string) (uint64, error) {
	var all uint64
	for stream, durable := range map[string]string{event.StreamVideos: "embedder-" + fingerprint, event.StreamEmbeddings: "indexer-" + fingerprint} {
		info, err := p.bus.ConsumerInfo(ctx, stream, durable)
		if err != nil {
			return 0, err
		}
		all += info.Pending + uint64(info.AckPending)
	}
	return all, nil
}

// indexed: every row has its place in the vector index, so that the first
// queries do not compare a whole catalogue row by row.
func (g *gates) indexed(ctx context.Context) error {
	const gate = "index"
	wait, cancel := context.WithTimeout(ctx, g.cfg.Wait)
	defer cancel()
	if err := g.index.Settle(wait); err != nil {
		g.say(false, gate, "expected one over all rows within %s, found: %v", g.cfg.Wait, err)
		return ctx.Err()
	}
	state, err := g.index.IndexState(ctx)
	if err != nil {
		return err
	}
	g.say(true, gate, "expected one over all rows, found %s over %d in storage", state.Kind, state.Rows)
	return nil
}

// rows: every video has its embedding, every embedding its row, no row is too
// many, and every vector is the one that this model made.
func (g *gates) rows(ctx context.Context) error {
	before, err := g.stored(ctx)
	if err != nil {
		return err
	}
	c := &comparison{bus: g.bus, index: g.index, fingerprint: g.fingerprint, dim: g.index.Dim()}
	if err := c.run(ctx); err != nil {
		return err
	}
	dead, err := g.deadVideos(ctx)
	if err != nil {
		return err
	}
	count, err := g.index.Count(ctx)
	if err != nil {
		return err
	}
	after, err := g.stored(ctx)
	if err != nil {
		return err
	}
	moved := after.since(before)
	effects := uint64(c.live+c.deleted) + dead
	g.say(apart(effects, after.videos) <= moved, "every video embedded",
		"expected %d videos, found %d embedded, %d deleted, %d dead letters%s", after.videos, c.live, c.deleted, dead, meanwhile(moved))
	g.say(apart(uint64(count), uint64(c.live)) <= moved && c.missing == 0, "rows",
		"expected %d, found %d, of which %d are missing or old%s%s", c.live, count, c.missing, meanwhile(moved), c.example)
	g.say(c.wrong == 0, "embeddings", "expected %d numbers of norm 1 made by %s in every row, found %d rows without%s",
		c.dim, g.fingerprint, c.wrong, c.firstWrong)
	return nil
}

// stored is how much the streams hold and have ever held.
type stored struct{ videos, lastVideo, lastEmbedding uint64 }

func (s stored) since(before stored) uint64 {
	return s.lastVideo - before.lastVideo + s.lastEmbedding - before.lastEmbedding
}

func (g *gates) stored(ctx context.Context) (stored, error) {
	videos, err := g.bus.StreamState(ctx, event.StreamVideos)
	if err != nil {
		return stored{}, err
	}
	embeddings, err := g.bus.StreamState(ctx, event.StreamEmbeddings)
	return stored{videos.Messages, videos.Last, embeddings.Last}, err
}

// deadVideos is how many videos have a dead letter of this model's embedder in
// place of an embedding.
func (g *gates) deadVideos(ctx context.Context) (uint64, error) {
	ids := map[string]bool{}
	for from := uint64(1); ; {
		letters, err := g.bus.DeadLetters(ctx, bus.DeadFilter{Subject: "videos.>", From: from, Limit: bus.MaxDeadListed})
		if err != nil {
			return 0, err
		}
		for _, d := range letters {
			from = d.Sequence + 1
			if d.Consumer != "embedder-"+g.fingerprint {
				continue
			}
			if id, err := event.IDFromSubject(d.Subject); err == nil {
				ids[id] = true
			}
		}
		if len(letters) < bus.MaxDeadListed {
			break
		}
	}
	var n uint64
	for id := range ids {
		_, err := g.bus.LastEmbedding(ctx, g.fingerprint, id)
		switch {
		case err != nil && errs.KindOf(err) == errs.NotFound:
			n++
		case err != nil:
			return 0, err
		}
	}
	return n, nil
}

// quality: the new model agrees with people about as well as the promoted one.
func (g *gates) quality(ctx context.Context) error {
	const gate = "Spearman"
	switch {
	case g.cfg.WithoutLabels:
		fmt.Fprintf(g.out, "note   %s: not compared (without-labels)\n", gate)
		return nil
	case g.promoted == "":
		fmt.Fprintf(g.out, "note   %s: there is no promoted model to compare with\n", gate)
		return nil
	}
	old, err := g.attach(ctx, g.promoted)
	if err != nil {
		return fmt.Errorf("the promoted model: %w", err)
	}
	defer old.Close()
	before, now, pairs, err := compareSpearman(ctx, g.cfg.Labels, old, g.index)
	if err != nil {
		return err
	}
	ok := now >= before-g.cfg.Epsilon && !math.IsNaN(before)
	g.say(ok, gate, "expected at least %.4f (%.4f of %s, less epsilon), found %.4f on %d pairs that both know", before-g.cfg.Epsilon, before, g.promoted, now, pairs)
	return nil
}

func apart(a, b uint64) uint64 { return max(a, b) - min(a, b) }

func meanwhile(moved uint64) string {
	if moved == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d events and embeddings were stored during the check)", moved)
}
