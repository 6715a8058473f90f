package event

import "context"

// PublishAs is Publish under a message id that the caller brings: a repetition
// under the same id, within the two minutes that the stream remembers, is the
// same publish and returns the first one's sequence. An empty name means an id
// of its own.
func (p *Publisher) PublishAs(ctx context.Context, name string, e *VideoEvent) (uint64, error) {
	msg, err := message(ctx, e)
	if err != nil {
		return 0, err
	}
	if name != "" {
		msg.Header.Set(HeaderMsgID, name)
	}
	return p.send(ctx, msg)
}
