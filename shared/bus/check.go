package bus

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"videosim/shared/event"
)

// Finding is one thing that was checked about the server.
type Finding struct {
	Name    string
	OK      bool
	Unknown bool   // could not be found out; the message says how to
	Message string // what was found, and what to do where it is not OK
}

// Oldest versions. Before 2.10.23 streams could lose acknowledged messages or
// consumers stall under this load; hot standbys came with 2.11.
var (
	leastVersion  = [3]int{2, 10, 23}
	pinnedVersion = [3]int{2, 11, 0}
)

// CheckServer reports what an operator should know about the server that we
// are connected to: its version, JetStream, the largest message, and whether
// an acknowledged event survives a power failure. The error is about asking.
func (b *Bus) CheckServer(ctx context.Context) ([]Finding, error) {
	account, err := b.JS.AccountInfo(ctx)
	if err != nil {
		return nil, kinded(err, "ask the server about JetStream: is it on?")
	}
	return []Finding{
		b.checkVersion(),
		{Name: "jetstream", OK: true, Message: fmt.Sprintf("on, with %d streams and %d bytes on disk", account.Streams, account.Store)},
		b.checkPayload(),
		b.checkSync(),
	}, nil
}

func (b *Bus) checkVersion() Finding {
	text := b.Conn.ConnectedServerVersion()
	version, err := parseVersion(text)
	f := Finding{Name: "version", OK: true, Message: "nats-server " + text}
	switch {
	case err != nil:
		f.OK, f.Unknown = false, true
		f.Message += ": not a version we can read"
	case older(version, leastVersion):
		f.OK = false
		f.Message += ": use 2.10.23 or later, 2.11 for a standby indexer"
	case older(version, pinnedVersion):
		f.OK = false
		f.Message += ": a standby indexer needs 2.11 or later; with Milvus the indexer will not start"
	}
	return f
}

func (b *Bus) checkPayload() Finding {
	f := Finding{Name: "max_payload", OK: true, Message: fmt.Sprintf("%d bytes", b.Conn.MaxPayload())}
	if b.Conn.MaxPayload() < event.MaxEventBytes {
		f.OK = false
		f.Message += fmt.Sprintf(": events may have %d", event.MaxEventBytes)
	}
	return f
}

// checkSync knows only the embedded server's setting: no client may ask.
func (b *Bus) checkSync() Finding {
	switch {
	case b.server == nil:
		return Finding{Name: "sync", Unknown: true, Message: "an outside server does not tell: look for `jetstream { sync_interval: always }` in its configuration; " +
			"with the default of 2 minutes, acknowledged events are lost when the power fails"}
	case b.server.cfg.SyncAlways:
		return Finding{Name: "sync", OK: true, Message: "every write is on the disk before it is acknowledged"}
	}
	return Finding{Name: "sync", Message: fmt.Sprintf("off: a power failure loses up to %s of acknowledged events; set sync-always", b.server.cfg.SyncInterval)}
}

func parseVersion(text string) (v [3]int, err error) {
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "v"), "-")
	parts := strings.SplitN(text, ".", 3)
	if len(parts) != 3 {
		return v, fmt.Errorf("expected three numbers, found %q", text)
	}
	for i, part := range parts {
		if v[i], err = strconv.Atoi(part); err != nil {
			return v, err
		}
	}
	return v, nil
}

func older(a, b [3]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}
