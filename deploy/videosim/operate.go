package videosim

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/vecdb"
	"videosim/shared/video"
)

// withBus connects an operator's command for as long as use runs.
func withBus(ctx context.Context, cfg bus.Config, env *service.Env, use func(*bus.Bus) error) error {
	cfg.Name = "videosim-operator"
	b, err := bus.Connect(ctx, cfg, bus.WithLog(env.Log))
	if err != nil {
		return err
	}
	defer b.Close()
	return use(b)
}

// PublishConfig publishes the videos of a data folder.
type PublishConfig struct {
	Data string     `arg:"" help:"Data folder (pointwise/*.tfrecords, pairwise/*.tfrecords)." type:"path"`
	NATS bus.Config `embed:"" prefix:"nats-"`
}

// Publish publishes every video of a data folder and prints the last sequence,
// which min_sequence of a query takes.
func Publish(ctx context.Context, cfg PublishConfig, env *service.Env) error {
	folder, err := video.OpenFolder(cfg.Data)
	if err != nil {
		return err
	}
	defer folder.Close()
	return withBus(ctx, cfg.NATS, env, func(b *bus.Bus) error {
		videos, last, err := feed(ctx, b, folder)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "published=%d last_sequence=%d\n", videos, last)
		return nil
	})
}

// DeadConfig chooses what to do with dead letters.
type DeadConfig struct {
	Subject string     `help:"List only letters whose original subject matches; wildcards allowed." placeholder:"SUBJECT"`
	Limit   int        `help:"Most letters listed." default:"100"`
	Show    uint64     `help:"Print the letter with this number, payload included." placeholder:"N" xor:"act"`
	Requeue uint64     `help:"Publish this letter's original again and drop the letter." placeholder:"N" xor:"act"`
	Drop    uint64     `help:"Drop this letter for good." placeholder:"N" xor:"act"`
	NATS    bus.Config `embed:"" prefix:"nats-"`
}

// Dead lists dead letters, or shows, sends back or drops one.
func Dead(ctx context.Context, cfg DeadConfig, env *service.Env) error {
	return withBus(ctx, cfg.NATS, env, func(b *bus.Bus) error {
		switch {
		case cfg.Show != 0:
			return showDead(ctx, b, cfg.Show, env.Stdout)
		case cfg.Requeue != 0:
			sequence, err := b.RequeueDead(ctx, cfg.Requeue)
			if err == nil {
				fmt.Fprintf(env.Stdout, "requeued=%d sequence=%d\n", cfg.Requeue, sequence)
			}
			return err
		case cfg.Drop != 0:
			return b.DropDead(ctx, cfg.Drop)
		}
		return listDead(ctx, b, bus.DeadFilter{Subject: cfg.Subject, Limit: cfg.Limit}, env.Stdout)
	})
}

func listDead(ctx context.Context, b *bus.Bus, filter bus.DeadFilter, w io.Writer) error {
	letters, err := b.DeadLetters(ctx, filter)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "N\tTIME\tKIND\tSUBJECT\tREASON")
	for _, d := range letters {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\n", d.Sequence, d.Time.UTC().Format(time.RFC3339), d.Kind, d.Subject, d.Reason)
	}
	return table.Flush()
}

func showDead(ctx context.Context, b *bus.Bus, sequence uint64, w io.Writer) error {
	d, header, payload, err := b.ShowDead(ctx, sequence)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "subject: %s\nkind: %s\nreason: %s\ndeliveries: %d\n", d.Subject, d.Kind, d.Reason, d.Deliveries)
	for name, values := range header {
		fmt.Fprintf(w, "%s: %q\n", name, values)
	}
	fmt.Fprintf(w, "\n%q\n", payload)
	return nil
}

// DoctorConfig says what to check.
type DoctorConfig struct {
	Bundle string     `help:"Check this bundle, too." placeholder:"DIR" type:"path"`
	NATS   bus.Config `embed:"" prefix:"nats-"`

	Index vecdb.Config `embed:""`
}

// Doctor checks what the suite relies on and does not own: the NATS server's
// version and settings, the streams, a bundle, and with index milvus the
// collections there. It fails where one is wrong.
func Doctor(ctx context.Context, cfg DoctorConfig, env *service.Env) error {
	wrong := 0
	say := func(ok bool, name, message string) {
		word := "ok"
		if !ok {
			word, wrong = "WRONG", wrong+1
		}
		fmt.Fprintf(env.Stdout, "%-6s %s: %s\n", word, name, message)
	}
	if cfg.Bundle != "" {
		b, err := bundle.Open(cfg.Bundle)
		if err != nil {
			say(false, "bundle", err.Error())
		} else {
			say(true, "bundle", b.Manifest.Fingerprint)
		}
	}
	err := withBus(ctx, cfg.NATS, env, func(b *bus.Bus) error {
		findings, err := b.CheckServer(ctx)
		for _, f := range findings {
			if f.Unknown {
				fmt.Fprintf(env.Stdout, "%-6s %s: %s\n", "?", f.Name, f.Message)
				continue
			}
			say(f.OK, f.Name, f.Message)
		}
		if err != nil {
			return err
		}
		for _, name := range []string{event.StreamVideos, event.StreamEmbeddings, event.StreamDead} {
			state, err := b.StreamState(ctx, name)
			if err != nil {
				say(false, name, err.Error()+" (any service makes it at its start)")
				continue
			}
			say(true, name, fmt.Sprintf("%d messages, last sequence %d", state.Messages, state.Last))
		}
		return nil
	})
	if err != nil {
		say(false, "nats", err.Error())
	}
	if cfg.Index.Kind == vecdb.KindMilvus {
		examineMilvus(ctx, cfg.Index.Milvus, say)
	}
	if wrong > 0 {
		return errs.New(errs.Invalid, "%d of the checks failed", wrong)
	}
	return nil
}

// examineMilvus tells of every collection whether it answers and is indexed.
func examineMilvus(ctx context.Context, cfg vecdb.MilvusConfig, say func(ok bool, name, message string)) {
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout+cfg.Timeout)
	defer cancel()
	version, collections, err := vecdb.ExamineMilvus(ctx, cfg)
	if err != nil {
		say(false, "milvus", err.Error())
		return
	}
	say(true, "milvus", fmt.Sprintf("version %s, %d collections", version, len(collections)))
	for _, c := range collections {
		text := fmt.Sprintf("%d rows, of the %d in storage %d without their %s index", c.Rows, c.Index.Rows, c.Index.Pending, c.Index.Kind)
		if c.Promoted {
			text += "; promoted"
		}
		if c.Failure != nil {
			text = c.Failure.Error()
		}
		say(c.Failure == nil, c.Name, text)
	}
}
