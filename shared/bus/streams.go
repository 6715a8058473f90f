package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
	"videosim/shared/event"
)

const (
	// streamExhausted holds the server's notes about messages that were
	// delivered as often as allowed and never answered; see catcher.go.
	streamExhausted = "EXHAUSTED"
	exhaustedPrefix = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."

	// stored is where the server says, without the payload, what it stored in
	// VIDEOS and EMBEDDINGS; Progress follows it.
	storedPrefix = "stored."

	// dedupeWindow is how long a message id is remembered; publishers stop
	// retrying before.
	dedupeWindow = 2 * time.Minute

	deadPerSubject = 8       // failures kept a subject: some versions, by some models
	maxExhausted   = 1 << 20 // notes kept if nobody reads them
)

// wantedStreams are the streams as the suite relies on them.
func (b *Bus) wantedStreams() []jetstream.StreamConfig {
	latest := func(name, subjects, about string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name:              name,
			Description:       about,
			Subjects:          []string{subjects},
			MaxMsgsPerSubject: 1,
			// Headers only: who stored what, and which message it replaced.
			RePublish: &jetstream.RePublish{Source: ">", Destination: storedPrefix + name + ".>", HeadersOnly: true},
		}
	}
	all := []jetstream.StreamConfig{
		latest(event.StreamVideos, "videos.>", "the latest event of every video"),
		latest(event.StreamEmbeddings, "embeddings.>", "the latest embedding of every video and model"),
		{Name: event.StreamDead, Description: "what could not be processed, with the reason", Subjects: []string{event.DeadSubject(">")}, MaxMsgsPerSubject: deadPerSubject},
		{
			Name: streamExhausted, Description: "deliveries that nobody answered",
			Subjects:          []string{exhaustedPrefix + event.StreamVideos + ".*", exhaustedPrefix + event.StreamEmbeddings + ".*"},
			MaxMsgsPerSubject: -1, MaxMsgs: maxExhausted, Retention: jetstream.WorkQueuePolicy,
		},
	}
	for i := range all {
		all[i].Storage = jetstream.FileStorage
		all[i].AllowDirect = true
		all[i].Duplicates = dedupeWindow
		all[i].Replicas = max(1, b.cfg.Replicas)
		all[i].MaxBytes = -1
		if all[i].MaxMsgs == 0 {
			all[i].MaxMsgs = -1
		}
	}
	return all
}

// EnsureStreams makes the streams that do not exist, changes in place what may
// be changed without losing messages, reads every setting back, and fails with
// the settings that differ: silently different streams are how events are lost.
func (b *Bus) EnsureStreams(ctx context.Context) error {
	for _, want := range b.wantedStreams() {
		if err := b.ensureStream(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bus) ensureStream(ctx context.Context, want jetstream.StreamConfig) error {
	s, err := b.JS.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = b.JS.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
			s, err = b.JS.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return kinded(err, "make stream %s", want.Name)
	}
	found := s.CachedInfo().Config
	if len(differences(want, found)) == 0 {
		return nil
	}
	next, refused := found, error(nil)
	for _, set := range streamSettings {
		if set.change != nil && set.show(want) != set.show(found) {
			set.change(&next, want)
		}
	}
	if s, err = b.JS.UpdateStream(ctx, next); err != nil {
		refused = err
	} else {
		found = s.CachedInfo().Config
	}
	if diff := differences(want, found); len(diff) > 0 {
		return differ("stream "+want.Name, diff, refused)
	}
	return nil
}

// streamSetting is one setting that the suite relies on. change is nil where
// the server cannot change it, or where changing it would drop messages that
// an operator may have kept on purpose.
type streamSetting struct {
	name   string
	show   func(jetstream.StreamConfig) string
	change func(next *jetstream.StreamConfig, want jetstream.StreamConfig)
}

var streamSettings = []streamSetting{
	{"subjects", func(c jetstream.StreamConfig) string {
		return strings.Join(slices.Sorted(slices.Values(c.Subjects)), " ")
	}, func(n *jetstream.StreamConfig, w jetstream.StreamConfig) { n.Subjects = w.Subjects }},
	{"storage", func(c jetstream.StreamConfig) string { return c.Storage.String() }, nil},
	{"retention", func(c jetstream.StreamConfig) string { return c.Retention.String() }, nil},
	{"max_msgs_per_subject", func(c jetstream.StreamConfig) string { return fmt.Sprint(c.MaxMsgsPerSubject) }, nil},
	{"max_age", func(c jetstream.StreamConfig) string { return c.MaxAge.String() },
		func(n *jetstream.StreamConfig, w jetstream.StreamConfig) { n.MaxAge = w.MaxAge }},
	{"max_msgs", func(c jetstream.StreamConfig) string { return fmt.Sprint(c.MaxMsgs) },
		func(n *jetstream.StreamConfig, w jetstream.StreamConfig) { n.MaxMsgs = w.MaxMsgs }},
	{"max_bytes", func(c jetstream.StreamConfig) string { return fmt.Sprint(c.MaxBytes) },
		func(n *jetstream.StreamConfig, w jetstream.StreamConfig) { n.MaxBytes = w.MaxBytes }},
	{"duplicate_window", func(c jetstream.StreamConfig) string { return c.Duplicates.String() },
		func(n *jetstream.StreamConfig, w jetstream.StreamConfig) { n.Duplicates = w.Duplicates }},
	{"allow_direct", func(c jetstream.StreamConfig) string { return fmt.Sprint(c.AllowDirect) },
		func(n *jetstream.StreamConfig, w jetstream.StreamConfig) { n.AllowDirect = w.AllowDirect }},
	{"republish", func(c jetstream.StreamConfig) string {
		if c.RePublish == nil {
			return "none"
		}
		return fmt.Sprintf("%s to %s, headers only: %t", c.RePublish.Source, c.RePublish.Destination, c.RePublish.HeadersOnly)
	}, func(n *jetstream.StreamConfig, w jetstream.StreamConfig) { n.RePublish = w.RePublish }},
	{"no_ack", func(c jetstream.StreamConfig) string { return fmt.Sprint(c.NoAck) },
		func(n *jetstream.StreamConfig, w jetstream.StreamConfig) { n.NoAck = w.NoAck }},
}

// difference is a setting that is not as it must be.
type difference struct{ setting, want, found string }

func differences(want, found jetstream.StreamConfig) []difference {
	var diff []difference
	for _, set := range streamSettings {
		if w, f := set.show(want), set.show(found); w != f {
			diff = append(diff, difference{set.name, w, f})
		}
	}
	return diff
}

// differ is the error about settings of what that are not as they must be.
func differ(what string, diff []difference, cause error) error {
	lines := make([]string, len(diff))
	for i, d := range diff {
		lines[i] = fmt.Sprintf("%s: expected %s, found %s", d.setting, d.want, d.found)
	}
	text := fmt.Sprintf("%s is not as the suite needs it: %s: change it, or delete it if it is not ours", what, strings.Join(lines, "; "))
	if cause != nil {
		return errs.New(errs.Invalid, "%s (the server refused: %w)", text, cause)
	}
	return errs.New(errs.Invalid, "%s", text)
}
