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
//
// The streams keep only the latest version of a video, so for the moments
// between an edit and its place in the index the parts of an answer can be of
// different versions. It then says so: sequence, indexed and reembedded differ.
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
	Sequence   uint64   `json:"sequence"`            // the version compared: the latest that is embedded
	Indexed    uint64   `json:"indexed"`             // the version that other answers compare; 0: none yet, or none any more
	Reembedded uint64   `json:"reembedded,omitzero"` // with modalities=true: the version whose modalities were left out, the latest published
	Modalities []string `json:"modalities"`          // those that it has
	LateShare  float64  `json:"late_share"`          // length of the late half over both lengths
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
	p := readParams(c, "modalities", "min_sequence", "wait_ms", "model")
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
	if err := g.addIndexed(ctx, &out); err != nil {
		return err
	}
	if deep == "true" {
		if err := g.addModalities(ctx, &out); err != nil {
			return err
		}
	}
	return answer(c, http.StatusOK, out)
}

func toExplain(a, b *event.Embedding, s query.Split, env envelope) explainAnswer {
	return explainAnswer{
		A:      explained{ID: a.Id, Sequence: a.Sequence, Modalities: modalities(a.Input), LateShare: s.LateShareA, EarlyShare: s.EarlyShareA},
		B:      explained{ID: b.Id, Sequence: b.Sequence, Modalities: modalities(b.Input), LateShare: s.LateShareB, EarlyShare: s.EarlyShareB},
		Cosine: s.Cosine, Late: s.Late, Early: s.Early, Cross: s.Cross, LateEarly: s.LateEarly, EarlyLate: s.EarlyLate,
		envelope: env,
	}
}

// addIndexed says which versions the index holds.
func (g *server) addIndexed(ctx context.Context, out *explainAnswer) error {
	records, err := g.catalogue.fetch(ctx, out.A.ID, out.B.ID)
	if err != nil {
		return err
	}
	for _, r := range records {
		for _, side := range []*explained{&out.A, &out.B} {
			if side.ID == r.ID {
				side.Indexed = r.Sequence
			}
		}
	}
	return nil
}

// addModalities embeds the latest versions again, each modality left out in turn.
func (g *server) addModalities(ctx context.Context, out *explainAnswer) error {
	var videos [2]*event.VideoEvent
	var gone []string
	for i, side := range []*explained{&out.A, &out.B} {
		v, sequence, err := g.catalogue.bus.LastVideo(ctx, side.ID)
		switch {
		case errs.KindOf(err) == errs.NotFound || err == nil && v.Op == event.VideoEvent_DELETE:
			gone = append(gone, side.ID)
		case err != nil:
			return err
		}
		videos[i], side.Reembedded = v, sequence
	}
	if len(gone) > 0 {
		return errs.New(errs.NotFound, "%w", &query.MissingError{IDs: gone})
	}
	found, err := g.engine.Modalities(ctx, videos[0], videos[1])
	if err != nil {
		return err
	}
	out.Modalities = make([]modalityShare, len(found))
	for i, m := range found {
		out.Modalities[i].Name = m.Name
		if m.Left {
			out.Modalities[i].Gain, out.Modalities[i].Share = &found[i].Gain, &found[i].Share
		}
	}
	return nil
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
