package gateway

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"videosim/gateway/query"
	"videosim/shared/errs"
	"videosim/shared/event"
)

// explainAnswer says where a cosine comes from: late + early + cross = cosine.
type explainAnswer struct {
	A          explained       `json:"a"`
	B          explained       `json:"b"`
	Cosine     float64         `json:"cosine"`
	Score      float64         `json:"score"`
	Late       float64         `json:"late"`  // late half with late half
	Early      float64         `json:"early"` // early half with early half
	Cross      float64         `json:"cross"` // late_early + early_late
	LateEarly  float64         `json:"late_early"`
	EarlyLate  float64         `json:"early_late"`
	Modalities []modalityShare `json:"modalities,omitzero"` // with modalities=true
	envelope
}

// explained is one of the two videos.
type explained struct {
	ID         string   `json:"id"`
	Sequence   uint64   `json:"sequence"`   // the version compared
	Modalities []string `json:"modalities"` // those that it has
	LateShare  float64  `json:"late_share"` // length of the late half over both lengths
	EarlyShare float64  `json:"early_share"`
}

// modalityShare is what one modality adds to the cosine.
type modalityShare struct {
	Name  string   `json:"name"`
	Gain  *float64 `json:"gain"`  // the cosine less the cosine without it; null where a video has nothing else
	Share *float64 `json:"share"` // of all gains, negative ones counted as none
}

// explain is GET /v1/videos/{a}/explain/{b}.
func (g *server) explain(c *gin.Context) error {
	a, err := pathID(c, "id")
	if err != nil {
		return err
	}
	b, err := pathID(c, "other")
	if err != nil {
		return err
	}
	p := readParams(c, "modalities", "min_sequence", "wait_ms")
	fresh, deep := p.freshness(), p.text("modalities")
	if deep != "" && deep != "true" && deep != "false" {
		p.fault("modalities", "expected true or false, found %q", deep)
	}
	if p.err != nil {
		return p.err
	}
	env, err := g.begin(c, fresh)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	storedA, storedB, err := g.catalogue.embeddings(ctx, a, b)
	if err != nil {
		return err
	}
	split, err := query.SplitCosine(storedA, storedB)
	if err != nil {
		return err
	}
	out := toExplain(storedA, storedB, split, env)
	out.Score = g.engine.Model.Score(split.Cosine)
	if deep == "true" {
		if out.Modalities, err = g.modalityShares(ctx, a, b); err != nil {
			return err
		}
	}
	return answer(c, http.StatusOK, out)
}

func toExplain(a, b *event.Embedding, s query.Split, env envelope) explainAnswer {
	return explainAnswer{
		A:      explained{a.Id, a.Sequence, modalities(a.Input), s.LateShareA, s.EarlyShareA},
		B:      explained{b.Id, b.Sequence, modalities(b.Input), s.LateShareB, s.EarlyShareB},
		Cosine: s.Cosine, Late: s.Late, Early: s.Early, Cross: s.Cross, LateEarly: s.LateEarly, EarlyLate: s.EarlyLate,
		envelope: env,
	}
}

func (g *server) modalityShares(ctx context.Context, a, b string) ([]modalityShare, error) {
	videoA, _, err := g.catalogue.bus.LastVideo(ctx, a)
	if err != nil {
		return nil, err
	}
	videoB, _, err := g.catalogue.bus.LastVideo(ctx, b)
	if err != nil {
		return nil, err
	}
	found, err := g.engine.Modalities(ctx, videoA, videoB)
	if err != nil {
		return nil, err
	}
	out := make([]modalityShare, len(found))
	for i, m := range found {
		out[i].Name = m.Name
		if m.Left {
			out[i].Gain, out[i].Share = &found[i].Gain, &found[i].Share
		}
	}
	return out, nil
}

// embeddings returns the stored embeddings of two videos, halves included.
func (k *catalogue) embeddings(ctx context.Context, ids ...string) (a, b *event.Embedding, err error) {
	var found []*event.Embedding
	var missing []string
	for _, id := range ids {
		e, err := k.bus.LastEmbedding(ctx, k.fingerprint, id)
		switch {
		case err == nil && !e.Deleted:
			found = append(found, e)
		case err == nil || errs.KindOf(err) == errs.NotFound:
			missing = append(missing, id)
		default:
			return nil, nil, err
		}
	}
	if len(missing) > 0 {
		return nil, nil, errs.New(errs.NotFound, "%w", &query.MissingError{IDs: missing})
	}
	return found[0], found[1], nil
}
