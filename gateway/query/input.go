package query

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/vecdb"
)

// Input names one video of a question, in exactly one of three ways.
type Input struct {
	Path      string            // where in the request it stands, for errors and reports: "positive[0]"
	ID        string            // an indexed video
	Video     *event.VideoEvent // a content, embedded for this question alone
	Embedding []float32         // a vector of the model's dimension
}

// Report says what of a content the models saw.
type Report struct {
	Path  string
	ID    string // the content's own id, if it has one
	Input *event.InputReport
}

// MissingError lists ids that the index does not hold. Its kind is NotFound.
type MissingError struct{ IDs []string }

func (e *MissingError) Error() string {
	const shown = 5
	if len(e.IDs) <= shown {
		return "not in the index: " + strings.Join(e.IDs, ", ")
	}
	return fmt.Sprintf("not in the index: %s and %d more", strings.Join(e.IDs[:shown], ", "), len(e.IDs)-shown)
}

// Resolved holds the vectors of some inputs.
type Resolved struct {
	Vectors [][]float32 // one an input, in order; nil where the id is missing
	Missing []string    // missing ids in the order of the inputs, each once
	Reports []Report    // one a content
}

// Resolve turns inputs into vectors: ids are fetched with one call, contents
// embedded with as few as their size allows. A missing id is no error here.
func (e *Engine) Resolve(ctx context.Context, inputs []Input) (Resolved, error) {
	res := Resolved{Vectors: make([][]float32, len(inputs))}
	var ids []string
	var contents []int
	for i, in := range inputs {
		switch {
		case in.ID != "":
			ids = append(ids, in.ID)
		case in.Video != nil:
			contents = append(contents, i)
		default:
			if err := checkVector(in.Path+".embedding", in.Embedding, e.Model.Dim); err != nil {
				return res, err
			}
			res.Vectors[i] = in.Embedding
		}
	}
	if len(contents) > MaxContents {
		return res, errs.Field(inputs[contents[MaxContents]].Path, "expected at most %d contents in one call, found %d", MaxContents, len(contents))
	}
	stored, missing, err := e.fetch(ctx, ids)
	if err != nil {
		return res, err
	}
	res.Missing = missing
	if len(inputs) == 1 && len(stored) == 1 {
		e.Vectors.remember(stored[inputs[0].ID])
	}
	for i, in := range inputs {
		if in.ID != "" {
			res.Vectors[i] = stored[in.ID].Embedding
		}
	}
	return res, e.embed(ctx, inputs, contents, &res)
}

// fetch returns the records of ids, and the ids without one in order, each once.
func (e *Engine) fetch(ctx context.Context, ids []string) (map[string]vecdb.Record, []string, error) {
	stored := make(map[string]vecdb.Record, len(ids))
	if len(ids) == 0 {
		return stored, nil, nil
	}
	seen := make(map[string]struct{}, len(ids))
	distinct := make([]string, 0, len(ids))
	for _, id := range ids {
		if _, ok := seen[id]; !ok {
			seen[id] = struct{}{}
			distinct = append(distinct, id)
		}
	}
	start := time.Now()
	records, err := e.Index.Fetch(ctx, distinct)
	TimingsOf(ctx).Since(Fetch, start)
	if err != nil {
		return nil, nil, fmt.Errorf("fetch %d videos from the index: %w", len(distinct), err)
	}
	for _, r := range records {
		stored[r.ID] = r
	}
	var missing []string
	for _, id := range distinct {
		if _, ok := stored[id]; !ok {
			missing = append(missing, id)
		}
	}
	return stored, missing, nil
}

// laneBytes keeps a request to the embedders under the 1 MiB that a NATS
// server takes by default, with room for headers.
const laneBytes = 900 << 10

// embed fills the vectors of the inputs at the places contents.
func (e *Engine) embed(ctx context.Context, inputs []Input, contents []int, res *Resolved) error {
	for len(contents) > 0 {
		n, size := 0, 0
		for n < len(contents) {
			size += proto.Size(inputs[contents[n]].Video) + 8
			if n > 0 && size > laneBytes {
				break
			}
			n++
		}
		if err := e.embedSome(ctx, inputs, contents[:n], res); err != nil {
			return err
		}
		contents = contents[n:]
	}
	return nil
}

func (e *Engine) embedSome(ctx context.Context, inputs []Input, places []int, res *Resolved) error {
	req := &event.EmbedRequest{}
	for _, i := range places {
		req.Videos = append(req.Videos, inputs[i].Video)
	}
	start := time.Now()
	reply, err := e.Lane.RequestEmbed(ctx, e.Model.Fingerprint, req)
	TimingsOf(ctx).Since(Embed, start)
	if err != nil {
		return fmt.Errorf("embed %d contents: %w", len(places), err)
	}
	TimingsOf(ctx).embedders(reply.Results)
	for j, i := range places {
		r := reply.Results[j]
		if r.Error != "" {
			return resultError(inputs[i].Path, r)
		}
		if err := checkVector(inputs[i].Path, r.Embedding, e.Model.Dim); err != nil {
			return errs.New(errs.Corrupt, "the embedder answered a wrong vector: %s", err)
		}
		res.Vectors[i] = r.Embedding
		res.Reports = append(res.Reports, Report{Path: inputs[i].Path, ID: inputs[i].Video.Id, Input: r.Input})
	}
	return nil
}

// resultError says which input an embedder refused, down to the field.
func resultError(path string, r *event.EmbedResult) error {
	err := event.Fault(r.ErrorKind, r.ErrorField, r.Error)
	if errs.KindOf(err) != errs.Invalid {
		return fmt.Errorf("embed %s: %w", path, err)
	}
	path += ".video"
	if r.ErrorField != "" {
		path += "." + r.ErrorField
	}
	return errs.Field(path, "%s", r.Error)
}

// checkVector refuses what can have no cosine.
func checkVector(path string, v []float32, dim int) error {
	if len(v) != dim {
		return errs.Field(path, "expected an embedding of %d numbers, found %d", dim, len(v))
	}
	var sum float64
	for i, x := range v {
		f := float64(x)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return errs.Field(fmt.Sprintf("%s[%d]", path, i), "expected a finite number, found %v", x)
		}
		sum += f * f
	}
	if sum == 0 {
		return errs.Field(path, "expected a vector with a direction, found only zeros")
	}
	return nil
}
