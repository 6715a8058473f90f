package gateway

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"videosim/gateway/query"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

// envelope is in every answer.
type envelope struct {
	Model           string   `json:"model"`            // the fingerprint that the numbers belong to
	IndexedSequence uint64   `json:"indexed_sequence"` // the index has seen every event up to this one
	MissingIDs      []string `json:"missing_ids"`      // asked for and not in the index
}

// freshness lets a caller demand what it has seen.
type freshness struct {
	MinSequence uint64 `json:"min_sequence"` // answer from an index that has seen this event
	WaitMS      int64  `json:"wait_ms"`      // and wait for it so long, before a 504
	Model       string `json:"model"`        // the fingerprint that the caller's vectors are of; another is a 409
}

// input is a video of a question: {"id":…}, {"video":{…}} or
// {"embedding":[…]}. A bare string is an id.
type input struct {
	ID        string         `json:"id"`
	Video     jsontext.Value `json:"video"`
	Embedding []float32      `json:"embedding"`
}

// UnmarshalJSONFrom reads either form.
func (in *input) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '"' {
		return json.UnmarshalDecode(dec, &in.ID)
	}
	type object input
	return json.UnmarshalDecode(dec, (*object)(in))
}

// toQuery checks an input and decodes its content. path names it in errors.
func (g *server) toQuery(in input, path string) (query.Input, error) {
	out := query.Input{Path: path, ID: in.ID, Embedding: in.Embedding}
	forms := 0
	for _, given := range []bool{in.ID != "", in.Video != nil, in.Embedding != nil} {
		if given {
			forms++
		}
	}
	if forms != 1 {
		return out, errs.Field(path, "expected exactly one of id, video and embedding, found %d", forms)
	}
	if in.ID != "" {
		return out, checkID(path, in.ID)
	}
	if in.Video == nil {
		return out, nil
	}
	var err error
	out.Video, err = g.content(in.Video, path+".video")
	return out, err
}

func (g *server) toQueries(in []input, path string) ([]query.Input, error) {
	out := make([]query.Input, len(in))
	for i := range in {
		var err error
		if out[i], err = g.toQuery(in[i], fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// content decodes a video that is only asked about. It needs no id.
func (g *server) content(raw []byte, path string) (*event.VideoEvent, error) {
	if err := decodeJSON(raw, new(any)); err != nil { // as in publish
		return nil, within(path, err)
	}
	v, err := event.Decode(raw, event.ContentJSON)
	if err != nil {
		return nil, within(path, err)
	}
	if v.Op != event.VideoEvent_UPSERT {
		return nil, errs.Field(path+".op", "expected none: a content is only asked about")
	}
	if v.Title == "" && v.AsrText == "" && v.Frames.GetCount() == 0 {
		return nil, errs.Field(path, "expected a title, asr_text or frames, found none")
	}
	id := v.Id
	if id == "" {
		v.Id = "content" // only for the check: embedders take a content without id
	}
	err = event.Validate(v, g.engine.Model.FrameDim)
	v.Id = id
	return v, within(path, err)
}

// within puts path before an error's field.
func within(path string, err error) error {
	if err == nil {
		return nil
	}
	var e *errs.Error
	if errors.As(err, &e) && e.Field != "" {
		return &errs.Error{Kind: e.Kind, Field: path + "." + e.Field, Err: e.Err}
	}
	return &errs.Error{Kind: errs.KindOf(err), Field: path, Err: err}
}

// checkID checks an id that the request has at path.
func checkID(path, id string) error {
	err := event.ValidateID(id)
	var e *errs.Error
	if errors.As(err, &e) {
		return errs.Field(path, "%w", e.Err)
	}
	return err
}

// filter is what results must have.
type filter struct {
	CategoryIDs     []int64    `json:"category_ids"`     // one of these
	TagIDs          []int64    `json:"tag_ids"`          // at least one of these
	PublishedAfter  *time.Time `json:"published_after"`  // at or after
	PublishedBefore *time.Time `json:"published_before"` // before
}

func (f filter) toQuery(exclude []string) (vecdb.Filter, error) {
	out := vecdb.Filter{Categories: f.CategoryIDs, Tags: f.TagIDs, ExcludeIDs: exclude}
	if len(f.CategoryIDs) > query.MaxFilter {
		return out, errs.Field("filter.category_ids", "expected at most %d, found %d", query.MaxFilter, len(f.CategoryIDs))
	}
	if len(f.TagIDs) > query.MaxFilter {
		return out, errs.Field("filter.tag_ids", "expected at most %d, found %d", query.MaxFilter, len(f.TagIDs))
	}
	if f.PublishedAfter != nil {
		out.PublishedAfter = *f.PublishedAfter
	}
	if f.PublishedBefore != nil {
		out.PublishedBefore = *f.PublishedBefore
	}
	if f.PublishedAfter != nil && f.PublishedBefore != nil && !out.PublishedAfter.Before(out.PublishedBefore) {
		return out, errs.Field("filter.published_before", "expected a time after published_after, %s, found %s",
			out.PublishedAfter.Format(time.RFC3339), out.PublishedBefore.Format(time.RFC3339))
	}
	if len(exclude) > query.MaxExclude {
		return out, errs.Field("exclude", "expected at most %d ids, found %d", query.MaxExclude, len(exclude))
	}
	for i, id := range exclude {
		if err := checkID(fmt.Sprintf("exclude[%d]", i), id); err != nil {
			return out, err
		}
	}
	return out, nil
}

// result is a found video.
type result struct {
	ID           string    `json:"id"`
	Cosine       float64   `json:"cosine"` // -1 to 1, of this model
	Score        float64   `json:"score"`  // 0 to 1, on the scale of people's judgements
	Title        string    `json:"title"`
	CategoryID   int64     `json:"category_id"`
	TagIDs       []int64   `json:"tag_ids"`
	PublishedAt  time.Time `json:"published_at,omitzero"`
	ThumbnailURL string    `json:"thumbnail_url,omitzero"`
	Sequence     uint64    `json:"sequence"` // the version of the video that was compared
}

func toResult(r query.Result) result {
	return result{
		ID: r.ID, Cosine: r.Cosine, Score: r.Score, Title: r.Title, CategoryID: r.CategoryID, TagIDs: r.TagIDs,
		PublishedAt: utc(r.PublishedAt), ThumbnailURL: r.ThumbnailURL, Sequence: r.Sequence,
	}
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// report says what of a content the models saw, so that nobody takes a cut
// text or a missing modality for a bad model.
type report struct {
	Input          string   `json:"input"` // where it stands in the request
	ID             string   `json:"id,omitzero"`
	Modalities     []string `json:"modalities"`       // of title, speech, frames
	TokensCut      int32    `json:"tokens_cut"`       // title and speech beyond the late model's length
	TitleTokensCut int32    `json:"title_tokens_cut"` // title beyond the early model's length
	FramesCut      int32    `json:"frames_cut"`       // frames beyond those the models read
}

func toReports(in []query.Report) []report {
	out := make([]report, len(in))
	for i, r := range in {
		out[i] = report{
			Input: r.Path, ID: r.ID, Modalities: modalities(r.Input),
			TokensCut: r.Input.GetTokensCut(), TitleTokensCut: r.Input.GetTitleTokensCut(), FramesCut: r.Input.GetFramesCut(),
		}
	}
	return out
}

func modalities(in *event.InputReport) []string {
	found := []string{}
	for _, m := range []struct {
		name  string
		there bool
	}{{"title", in.GetTitle()}, {"speech", in.GetSpeech()}, {"frames", in.GetFrames()}} {
		if m.there {
			found = append(found, m.name)
		}
	}
	return found
}
