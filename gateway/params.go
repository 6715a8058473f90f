package gateway

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"videosim/shared/errs"
)

// params reads a query string strictly: an unknown or repeated name is an
// error, for a misspelt filter must not answer as if there were none.
type params struct {
	values url.Values
	err    error // the first fault
}

// readParams accepts the given names only.
func readParams(c *gin.Context, names ...string) params {
	p := params{}
	var err error
	if p.values, err = url.ParseQuery(c.Request.URL.RawQuery); err != nil {
		p.err = errs.New(errs.Invalid, "query string: %w", err)
		return p
	}
	found := make([]string, 0, len(p.values))
	for name := range p.values {
		found = append(found, name)
	}
	slices.Sort(found)
	for _, name := range found {
		if !slices.Contains(names, name) {
			p.fault(name, "expected one of %s", strings.Join(names, ", "))
		}
		if len(p.values[name]) > 1 {
			p.fault(name, "expected it once, found it %d times; separate several values by commas", len(p.values[name]))
		}
	}
	return p
}

func (p *params) fault(name, format string, args ...any) {
	if p.err == nil {
		p.err = errs.Field(name, format, args...)
	}
}

func (p *params) text(name string) string { return p.values.Get(name) }

func (p *params) list(name string) []string {
	if p.values.Get(name) == "" {
		return nil
	}
	return strings.Split(p.values.Get(name), ",")
}

// integer is 0 where the name is not given.
func (p *params) integer(name string) int64 {
	if !p.values.Has(name) {
		return 0
	}
	n, err := strconv.ParseInt(p.values.Get(name), 10, 64)
	if err != nil {
		p.fault(name, "expected a whole number, found %q", p.values.Get(name))
	}
	return n
}

func (p *params) integers(name string) []int64 {
	var out []int64
	for _, text := range p.list(name) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			p.fault(name, "expected whole numbers separated by commas, found %q", text)
		}
		out = append(out, n)
	}
	return out
}

func (p *params) number(name string) float64 {
	if !p.values.Has(name) {
		return 0
	}
	f, err := strconv.ParseFloat(p.values.Get(name), 64)
	if err != nil {
		p.fault(name, "expected a number, found %q", p.values.Get(name))
	}
	return f
}

func (p *params) time(name string) *time.Time {
	if !p.values.Has(name) {
		return nil
	}
	t, err := time.Parse(time.RFC3339, p.values.Get(name))
	if err != nil {
		p.fault(name, "expected a time such as 2025-03-01T00:00:00Z, found %q", p.values.Get(name))
	}
	return &t
}

func (p *params) freshness() freshness {
	f := freshness{WaitMS: p.integer("wait_ms"), Model: p.text("model")}
	if p.values.Has("min_sequence") {
		n, err := strconv.ParseUint(p.values.Get("min_sequence"), 10, 64)
		if err != nil {
			p.fault("min_sequence", "expected a whole number, found %q", p.values.Get("min_sequence"))
		}
		f.MinSequence = n
	}
	return f
}

// pathID is the video's id in the path.
func pathID(c *gin.Context, name string) (string, error) {
	id := c.Param(name)
	return id, checkID(name, id)
}

// similarParams reads GET /v1/videos/{id}/similar.
func similarParams(c *gin.Context) (similarRequest, error) {
	id, err := pathID(c, "id")
	if err != nil {
		return similarRequest{}, err
	}
	p := readParams(c, "k", "category", "tag", "published_after", "published_before", "min_score",
		"exclude", "diversity", "page_token", "min_sequence", "wait_ms", "model")
	req := similarRequest{
		Positive: []input{{ID: id}},
		Filter: filter{
			CategoryIDs: p.integers("category"), TagIDs: p.integers("tag"),
			PublishedAfter: p.time("published_after"), PublishedBefore: p.time("published_before"),
		},
		MinScore: p.number("min_score"), Exclude: p.list("exclude"), Diversity: p.number("diversity"),
		PageToken: p.text("page_token"), freshness: p.freshness(),
	}
	if p.values.Has("k") {
		k := int(p.integer("k"))
		req.K = &k
	}
	return req, p.err
}
