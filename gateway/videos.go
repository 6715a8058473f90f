package gateway

import (
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// publishAnswer says under which sequence an event waits. A query with
// min_sequence set to it sees its effect.
type publishAnswer struct {
	ID       string `json:"id"`
	Sequence uint64 `json:"sequence"`
	State    string `json:"state"` // "queued"
	envelope
}

// publish is POST /v1/videos: an event as producers send it, in JSON or
// protobuf.
func (g *server) publish(c *gin.Context) error {
	media, err := contentType(c)
	if err != nil {
		return err
	}
	if media == "" || media == formType {
		media = event.ContentJSON
	}
	if media != event.ContentJSON && media != event.ContentProtobuf {
		return unsupported(event.ContentJSON+" or "+event.ContentProtobuf, media)
	}
	body, err := readBody(c)
	if err != nil {
		return err
	}
	if media == event.ContentJSON { // protobuf's decoder takes null, and does not name the place of a repeated field
		if err := decodeJSON(body, new(any)); err != nil {
			return err
		}
	}
	v, err := event.Decode(body, media)
	if err != nil {
		return err
	}
	if v.Op != event.VideoEvent_UPSERT {
		return errs.Field("op", "expected none: DELETE /v1/videos/{id} takes a video down")
	}
	if err := event.Validate(v, g.engine.Model.FrameDim); err != nil {
		return err
	}
	return g.send(c, v)
}

// takeDown is DELETE /v1/videos/{id}. An unknown id is taken down as well: its
// upload may still be on its way.
func (g *server) takeDown(c *gin.Context) error {
	id, err := pathID(c, "id")
	if err != nil {
		return err
	}
	return g.send(c, &event.VideoEvent{Id: id, Op: event.VideoEvent_DELETE})
}

func (g *server) send(c *gin.Context, v *event.VideoEvent) error {
	name, err := publishName(c, v)
	if err != nil {
		return err
	}
	env, err := g.begin(c, freshness{})
	if err != nil {
		return err
	}
	sequence, err := g.once(c.Request.Context(), name, v)
	if err != nil {
		return err
	}
	c.Header("Location", "/v1/videos/"+url.PathEscape(v.Id))
	return answer(c, http.StatusAccepted, publishAnswer{ID: v.Id, Sequence: sequence, State: stateQueued, envelope: env})
}

// The states of a video.
const (
	stateQueued  = "queued"  // its latest event has not reached the index yet
	stateIndexed = "indexed" // queries see its latest event
	stateFailed  = "failed"  // its latest event is a dead letter
	stateDeleted = "deleted" // it was taken down, and queries do not see it
)

// videoAnswer is a video as it was last published, and what became of that.
type videoAnswer struct {
	ID           string      `json:"id"`
	State        string      `json:"state"`
	Reason       string      `json:"reason,omitzero"`       // of a failure
	ReasonField  string      `json:"reason_field,omitzero"` // the field of the event at fault
	Sequence     uint64      `json:"sequence"`              // of the latest event
	Indexed      uint64      `json:"indexed_version"`       // sequence that queries see; 0: none
	Title        string      `json:"title"`
	ASRText      string      `json:"asr_text"`
	CategoryID   int64       `json:"category_id"`
	TagIDs       []int64     `json:"tag_ids"`
	PublishedAt  time.Time   `json:"published_at,omitzero"`
	ThumbnailURL string      `json:"thumbnail_url,omitzero"`
	Frames       *framesInfo `json:"frames,omitzero"`
	envelope
}

// framesInfo describes frames without their data.
type framesInfo struct {
	Encoding string `json:"encoding"`
	Dim      int32  `json:"dim"`
	Count    int32  `json:"count"`
	Ref      string `json:"ref,omitzero"`
}

// video is GET /v1/videos/{id}.
func (g *server) video(c *gin.Context) error {
	id, err := pathID(c, "id")
	if err != nil {
		return err
	}
	p := readParams(c, "min_sequence", "wait_ms", "model")
	fresh := p.freshness()
	if p.err != nil {
		return p.err
	}
	env, err := g.begin(c, fresh)
	if err != nil {
		return err
	}
	out, err := g.catalogue.video(c.Request.Context(), id, env.IndexedSequence)
	if err != nil {
		return err
	}
	out.envelope = env
	return answer(c, http.StatusOK, out)
}
