package models

import (
	"context"
	"fmt"
	"io"
	"time"

	"videosim/shared/bundle"
	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/service"
	"videosim/shared/vecdb"
)

// Target names the model that a command is about.
type Target struct {
	Bundle      string `help:"Folder of the model's bundle; only its manifest is read." placeholder:"DIR" type:"path"`
	Fingerprint string `help:"Fingerprint of the model, in place of a bundle." placeholder:"HEX"`
}

func (t Target) fingerprint() (string, error) {
	switch {
	case (t.Bundle == "") == (t.Fingerprint == ""):
		return "", errs.Field("bundle", "expected either bundle or fingerprint, found %q and %q", t.Bundle, t.Fingerprint)
	case t.Fingerprint == "":
		m, err := bundle.ReadManifest(t.Bundle)
		return m.Fingerprint, err
	case !bundle.ValidFingerprint(t.Fingerprint):
		return "", errs.Field("fingerprint", "expected 12 hex digits, found %q", t.Fingerprint)
	}
	return t.Fingerprint, nil
}

// PromoteConfig is what to promote, or back from what.
type PromoteConfig struct {
	Target        `embed:""`
	Labels        string        `help:"label.tsv of judged pairs: the new model's Spearman on it must not be lower than the promoted one's by more than epsilon." placeholder:"FILE" type:"path"`
	WithoutLabels bool          `help:"Promote without a comparison on judged pairs."`
	Epsilon       float64       `help:"Loss of Spearman that is accepted." default:"0.01"`
	Wait          time.Duration `help:"How long the new collection may take to have seen the newest event, and as long again for its index to cover every row." default:"1m"`
	Check         bool          `help:"Only check the gates."`
	Rollback      bool          `help:"Point the alias back to the model that the last promotion replaced."`

	Milvus vecdb.MilvusConfig `embed:"" prefix:"milvus-"`
	NATS   bus.Config         `embed:"" prefix:"nats-"`

	// step is called before and after each change, by tests that kill there.
	step func(name string)
}

// Validate returns an Invalid error that names the first field at fault.
func (c PromoteConfig) Validate() error {
	switch {
	case c.Rollback && (c.Bundle != "" || c.Fingerprint != "" || c.Check):
		return errs.Field("rollback", "expected no bundle, fingerprint or check with it: it goes back to what the last promotion replaced")
	case c.Rollback:
	case (c.Labels == "") == !c.WithoutLabels:
		return errs.Field("labels", "expected a file of judged pairs, or without-labels")
	case !(c.Epsilon >= 0 && c.Epsilon <= 2):
		return errs.Field("epsilon", "expected 0 to 2, found %v", c.Epsilon)
	case c.Wait <= 0:
		return errs.Field("wait", "expected more than 0, found %s", c.Wait)
	}
	return c.Milvus.Validate()
}

// promotion is the note about the last one. It is written before the alias
// moves, so after a crash it says at worst what was intended; where the alias
// points to is asked of Milvus, never of the note.
type promotion struct {
	From string    `json:"from"` // "": there was no alias
	To   string    `json:"to"`
	At   time.Time `json:"at"`
}

const promotionNote = "promotion"

// promoter is one call of the command.
type promoter struct {
	cfg PromoteConfig
	bus *bus.Bus
	out io.Writer
}

// Promote checks the gates and points the alias to a model's collection, or
// back. It prints each gate with what was expected and found. Refusals are
// Invalid; nothing has changed then.
func Promote(ctx context.Context, cfg PromoteConfig, env *service.Env) error {
	if err := cfg.Validate(); err != nil {
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
	p := &promoter{cfg: cfg, bus: b, out: env.Stdout}
	if cfg.Rollback {
		return p.rollback(ctx)
	}
	to, err := cfg.fingerprint()
	if err != nil {
		return err
	}
	return p.promote(ctx, to)
}

func (p *promoter) promote(ctx context.Context, to string) error {
	index, err := p.attach(ctx, to)
	if err != nil {
		return err
	}
	defer index.Close()
	from, err := index.Promoted(ctx)
	if err != nil {
		return err
	}
	if from == to {
		fmt.Fprintf(p.out, "%s is promoted already\n", index.Collection())
		return nil
	}
	g := &gates{promoter: p, index: index, fingerprint: to, promoted: from}
	if err := g.check(ctx); err != nil {
		return err
	}
	if p.cfg.Check {
		return nil
	}
	return p.move(ctx, index, promotion{From: from, To: to, At: time.Now().UTC()})
}

// move notes what is replaced, then moves the alias.
func (p *promoter) move(ctx context.Context, index *vecdb.Milvus, change promotion) error {
	p.cfg.step("before the note")
	if err := p.bus.WriteNote(ctx, promotionNote, change); err != nil {
		return err
	}
	p.cfg.step("before the alias")
	previous, err := index.Promote(ctx)
	if err != nil {
		return err
	}
	p.cfg.step("after the alias")
	if previous == "" {
		previous = "none"
	}
	fmt.Fprintf(p.out, "promoted %s (before: %s)\n", change.To, previous)
	return nil
}

// rollback moves the alias back to what the last promotion replaced.
func (p *promoter) rollback(ctx context.Context) error {
	var last promotion
	err := p.bus.ReadNote(ctx, promotionNote, &last)
	switch {
	case errs.KindOf(err) == errs.NotFound && err != nil:
		return errs.New(errs.Invalid, "nothing to go back from: no promotion was made on this NATS server")
	case err != nil:
		return err
	case last.From == "":
		return errs.New(errs.Invalid, "nothing to go back to: %s was the first model promoted", last.To)
	}
	index, err := p.attach(ctx, last.From)
	if err != nil {
		return fmt.Errorf("the way back: %w", err)
	}
	defer index.Close()
	now, err := index.Promoted(ctx)
	switch {
	case err != nil:
		return err
	case now == last.From: // killed before the alias moved, or gone back before
		fmt.Fprintf(p.out, "%s is promoted already\n", index.Collection())
		return nil
	case now != last.To:
		return errs.New(errs.Invalid, "the alias points to %q, expected %s, which the last promotion promoted: promote %s by name",
			now, last.To, last.From)
	}
	p.sayLag(ctx, last.From)
	p.cfg.step("before the alias")
	if _, err := index.Promote(ctx); err != nil {
		return err
	}
	p.cfg.step("after the alias")
	fmt.Fprintf(p.out, "rolled back to %s (before: %s)\n", last.From, last.To)
	return nil
}

// sayLag tells how much a model misses. On the way back it is no gate: an old
// answer may be better than a wrong one.
func (p *promoter) sayLag(ctx context.Context, fingerprint string) {
	waiting, err := p.waiting(ctx, fingerprint)
	switch {
	case err != nil:
		fmt.Fprintf(p.out, "note   how far %s lags is not known: %v\n", fingerprint, err)
	case waiting > 0:
		fmt.Fprintf(p.out, "note   %d messages wait for the services of %s: do they run?\n", waiting, fingerprint)
	}
}

// attach opens a model's collection, which must exist and answer.
func (p *promoter) attach(ctx context.Context, fingerprint string) (*vecdb.Milvus, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Milvus.ConnectTimeout+p.cfg.Milvus.Timeout)
	defer cancel()
	return vecdb.AttachMilvus(ctx, p.cfg.Milvus, fingerprint)
}
