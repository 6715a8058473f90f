package bus

import (
	"context"
	"time"
)

// Info is where a consumer stands.
type Info struct {
	Pending     uint64 // stored, not delivered yet
	AckPending  int    // delivered, not settled
	Redelivered int    // of those, delivered more than once
	AckFloor    uint64 // every stream sequence up to here is settled
	Delivered   uint64 // the last stream sequence that was delivered
	Created     time.Time

	memoryOf string // the bus in whose process its effects are; "": durable
}

// Info asks the server; during a replay (Fresh) it is what this process knows.
func (c *Consumer) Info(ctx context.Context) (Info, error) {
	if info, replaying := c.replayInfo(); replaying {
		return info, nil
	}
	return c.b.ConsumerInfo(ctx, c.cfg.Stream, c.cfg.Durable)
}

// ConsumerInfo asks the server about any durable consumer, for promotion and
// operators; NotFound where there is none.
func (b *Bus) ConsumerInfo(ctx context.Context, stream, durable string) (Info, error) {
	cons, err := b.JS.Consumer(ctx, stream, durable)
	if err != nil {
		return Info{}, kinded(err, "consumer %s on %s", durable, stream)
	}
	info := cons.CachedInfo()
	return Info{
		Pending:     info.NumPending,
		AckPending:  info.NumAckPending,
		Redelivered: info.NumRedelivered,
		AckFloor:    info.AckFloor.Stream,
		Delivered:   info.Delivered.Stream,
		Created:     info.Created,
		memoryOf:    info.Config.Metadata[markInMemory],
	}, nil
}
