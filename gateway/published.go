package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// An Idempotency-Key names one publish of one caller: its repetitions within
// two minutes get the first one's sequence, and another event under the same
// key is refused. Two memories answer for that:
//
//   - published, of this process, knows the digest of what came under a key;
//   - the stream VIDEOS knows the message id made of the key (its dedupe
//     window, two minutes), whichever gateway it came through and whether or
//     not that was restarted. A different event is told from a repetition by
//     reading the one that is stored; only where a later edit has replaced
//     that one meanwhile, and this process did not publish it, does a
//     different event pass for a repetition.
type published struct {
	recent *expirable.LRU[string, publish]
}

type publish struct {
	digest   [sha256.Size]byte
	sequence uint64
}

const (
	publishedKept = 20_000          // about 150 bytes each
	publishedFor  = 2 * time.Minute // as long as the stream remembers
)

func newPublished() *published {
	return &published{recent: expirable.NewLRU[string, publish](publishedKept, nil, publishedFor)}
}

// errKeyReused is the refusal of a key that named another event.
var errKeyReused = refuse("idempotency-key-reused", http.StatusUnprocessableEntity,
	"the Idempotency-Key came with another event before: expected a key of its own for each publish")

// once publishes v under name, or finds that it was published already.
func (g *server) once(ctx context.Context, name string, v *event.VideoEvent) (uint64, error) {
	if name == "" {
		return g.publisher.Publish(ctx, v)
	}
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(v)
	if err != nil {
		return 0, errs.New(errs.Invalid, "encode the event: %w", err)
	}
	digest := sha256.Sum256(content)
	if before, ok := g.published.recent.Get(name); ok {
		if before.digest != digest {
			return 0, errKeyReused
		}
		return before.sequence, nil
	}
	sequence, err := g.publisher.PublishAs(ctx, name, v)
	if err != nil {
		return 0, err
	}
	stored, found, err := g.catalogue.bus.LastVideo(ctx, v.Id)
	switch {
	case err != nil:
		return 0, fmt.Errorf("compare with what came under the key before: %w", err)
	case found == sequence && !proto.Equal(stored, v):
		return 0, errKeyReused
	}
	g.published.recent.Add(name, publish{digest, sequence})
	return sequence, nil
}

// publishName is the message id of a publish. An Idempotency-Key belongs to
// its caller, the video and the operation; without one every call is a publish
// of its own.
func publishName(c *gin.Context, v *event.VideoEvent) (string, error) {
	key := c.GetHeader("Idempotency-Key")
	if key == "" {
		return "", nil
	}
	const most = 256
	if len(key) > most {
		return "", errs.Field("Idempotency-Key", "expected at most %d bytes, found %d", most, len(key))
	}
	sum := sha256.Sum256([]byte(c.GetString(keyCaller) + "\x00" + v.Op.String() + "\x00" + v.Id + "\x00" + key))
	return hex.EncodeToString(sum[:]), nil
}
