package models

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"videosim/indexer"
	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/vecdb"
)

// RebuildConfig says what to make again from what.
type RebuildConfig struct {
	Target     `embed:""`
	Embeddings bool `help:"Drop the model's embeddings and make them again from VIDEOS; needs a running embedder. Without: the index is filled again from the embeddings that are there, and nothing is computed."`
	Yes        bool `help:"Needed with embeddings, which computes the whole catalogue again."`

	Indexer indexer.Settings   `embed:"" prefix:"indexer-"`
	Milvus  vecdb.MilvusConfig `embed:"" prefix:"milvus-"`
	NATS    bus.Config         `embed:"" prefix:"nats-"`

	step func(name string) // as in PromoteConfig
}

// Validate returns an Invalid error that names the first field at fault.
func (c RebuildConfig) Validate() error {
	if c.Embeddings && !c.Yes {
		return errs.Field("yes", "expected yes with embeddings: all embeddings of the model are dropped and computed again")
	}
	return c.Milvus.Validate()
}

// rebuilder is one call of the command.
type rebuilder struct {
	cfg         RebuildConfig
	fingerprint string
	bus         *bus.Bus
	out         io.Writer
	note        indexer.Rebuilding
}

// Rebuild writes every row of a model's collection again, in place: reads go
// on meanwhile and never meet an empty or half-filled index, because a row is
// replaced, not removed and added. The work is done by the model's indexer, or
// where none runs by one inside the command, so that there is one writer. A
// command that was killed goes on where it was when it is run again.
func Rebuild(ctx context.Context, cfg RebuildConfig, env *service.Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	fingerprint, err := cfg.fingerprint()
	if err != nil {
		return err
	}
	if cfg.step == nil {
		cfg.step = func(string) {}
	}
	cfg.NATS.Name = "videosim-operator"
	b, err := bus.Connect(ctx, cfg.NATS, bus.WithLog(env.Log))
	if err != nil {
		return err
	}
	defer b.Close()
	attach, cancel := context.WithTimeout(ctx, cfg.Milvus.ConnectTimeout+cfg.Milvus.Timeout)
	defer cancel()
	index, err := vecdb.AttachMilvus(attach, cfg.Milvus, fingerprint)
	if err != nil {
		return err
	}
	defer index.Close()
	r := &rebuilder{cfg: cfg, fingerprint: fingerprint, bus: b, out: env.Stdout}
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.work(ctx, env, index); err != nil {
		return err
	}
	return r.verify(ctx, index)
}

// begin writes the note of this rebuild, or takes up that of a killed one.
func (r *rebuilder) begin(ctx context.Context) error {
	name := indexer.RebuildingNote(r.fingerprint)
	err := r.bus.ReadNote(ctx, name, &r.note)
	switch {
	case err == nil && r.note.Embeddings != r.cfg.Embeddings:
		return errs.New(errs.Invalid, "another rebuild of %s, begun %s, is not finished: run it again (embeddings: %t)", r.fingerprint, r.note.Since.Format(time.RFC3339), r.note.Embeddings)
	case err == nil:
		fmt.Fprintf(r.out, "going on with the rebuild begun %s\n", r.note.Since.Format(time.RFC3339))
	case errs.KindOf(err) == errs.NotFound:
		if r.note, err = r.plan(ctx); err != nil {
			return err
		}
		if err := r.bus.WriteNote(ctx, name, r.note); err != nil {
			return err
		}
	default:
		return err
	}
	if r.note.Reset {
		return nil
	}
	r.cfg.step("before the reset")
	if err := r.reset(ctx); err != nil {
		return err
	}
	r.cfg.step("after the reset")
	r.note.Reset = true
	return r.bus.WriteNote(ctx, name, r.note)
}

// plan looks how much there is to do.
func (r *rebuilder) plan(ctx context.Context) (indexer.Rebuilding, error) {
	stream := event.StreamEmbeddings
	if r.cfg.Embeddings {
		stream = event.StreamVideos
	}
	state, err := r.bus.StreamState(ctx, stream)
	return indexer.Rebuilding{ID: rand.Text(), Embeddings: r.cfg.Embeddings, Until: state.Last, Since: time.Now().UTC()}, err
}

// reset starts the consumers at the beginning, once every indexer knows why.
// Repeated after a kill, it costs the work since, and nothing else.
func (r *rebuilder) reset(ctx context.Context) error {
	select {
	case <-time.After(indexer.NoticeTime):
	case <-ctx.Done():
		return ctx.Err()
	}
	if !r.note.Embeddings {
		return r.bus.ForgetConsumer(ctx, event.StreamEmbeddings, "indexer-"+r.fingerprint)
	}
	if err := r.bus.PurgeEmbeddings(ctx, r.fingerprint); err != nil {
		return err
	}
	r.cfg.step("after the purge")
	return r.bus.ForgetConsumer(ctx, event.StreamVideos, "embedder-"+r.fingerprint)
}

// work has a standby indexer beside it, which takes over where no other runs.
func (r *rebuilder) work(ctx context.Context, env *service.Env, index *vecdb.Milvus) error {
	done := errors.New("done")
	cfg := indexer.Config{
		Fingerprint: r.fingerprint, Dim: index.Dim(), Settings: r.cfg.Indexer,
		Index: vecdb.Config{Kind: vecdb.KindMilvus, Milvus: r.cfg.Milvus}, NATS: r.cfg.NATS,
	}
	// With an Env of its own: the indexer would open the admin port, which on
	// this machine may be a service's.
	own := service.NewEnv(service.LogConfig{}, env.Tracer, env.Stdout, env.Stderr)
	own.Log = env.Log
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return indexer.Run(ctx, cfg, indexer.Env{Env: own, Bus: r.bus, Index: index}) })
	group.Go(func() error {
		wait := r.awaitIndexed
		if r.note.Embeddings {
			wait = r.awaitEmbedded
		}
		if err := wait(ctx); err != nil {
			return err
		}
		return done
	})
	if err := group.Wait(); !errors.Is(err, done) {
		return err
	}
	return nil
}

const (
	rebuildPoll = 250 * time.Millisecond
	// rebuildSay is how often the progress is printed.
	rebuildSay = 2 * time.Second
)

// every calls check until it says that all is done, and prints what is left.
func (r *rebuilder) every(ctx context.Context, check func() (left uint64, done bool, err error)) error {
	said := time.Time{}
	for {
		left, done, err := check()
		known := err == nil // a consumer that its worker has not made again yet is no failure
		if !known && errs.KindOf(err) != errs.NotFound && ctx.Err() == nil {
			return err
		}
		if done || known && time.Since(said) > rebuildSay {
			fmt.Fprintf(r.out, "%s: %d messages to go, %s since the begin\n", r.fingerprint, left, time.Since(r.note.Since).Round(time.Second))
			said = time.Now()
		}
		if done {
			r.cfg.step("in the end")
			return nil
		}
		r.cfg.step("in the middle")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rebuildPoll):
		}
	}
}

// awaitIndexed waits until the indexer has settled what was stored at the begin.
func (r *rebuilder) awaitIndexed(ctx context.Context) error {
	return r.every(ctx, func() (uint64, bool, error) {
		info, err := r.bus.ConsumerInfo(ctx, event.StreamEmbeddings, "indexer-"+r.fingerprint)
		if err != nil {
			return 0, false, err
		}
		left := info.Pending + uint64(info.AckPending)
		return left, info.AckFloor >= r.note.Until || left == 0, nil
	})
}

// awaitEmbedded waits until everything published at the begin is embedded and
// indexed again.
func (r *rebuilder) awaitEmbedded(ctx context.Context) error {
	progress := bus.NewProgress(r.bus, r.fingerprint)
	group, ctx := errgroup.WithContext(ctx)
	done := errors.New("done")
	group.Go(func() error { return progress.Run(ctx) })
	group.Go(func() error {
		err := r.every(ctx, func() (uint64, bool, error) {
			info, err := r.bus.ConsumerInfo(ctx, event.StreamVideos, "embedder-"+r.fingerprint)
			if err != nil {
				return 0, false, err
			}
			return info.Pending + uint64(info.AckPending), progress.Sequence() >= r.note.Until, nil
		})
		if err != nil {
			return err
		}
		return done
	})
	if err := group.Wait(); !errors.Is(err, done) {
		return err
	}
	return nil
}

// verify ends the rebuild and holds the rows against the stream.
func (r *rebuilder) verify(ctx context.Context, index *vecdb.Milvus) error {
	if err := r.bus.DropNote(ctx, indexer.RebuildingNote(r.fingerprint)); err != nil {
		return err
	}
	c := &comparison{bus: r.bus, index: index, fingerprint: r.fingerprint, dim: index.Dim()}
	if err := c.run(ctx); err != nil {
		return err
	}
	count, err := index.Count(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.out, "rebuilt %s: %d embeddings, %d rows, %d missing or old%s, %d wrong%s\n",
		index.Collection(), c.live, count, c.missing, c.example, c.wrong, c.firstWrong)
	if c.missing > 0 || c.wrong > 0 {
		return errs.New(errs.Corrupt, "%s does not agree with EMBEDDINGS", index.Collection())
	}
	return nil
}
