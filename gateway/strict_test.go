package gateway

import (
	"strings"
	"testing"
)

// Whatever a lenient decoder would let pass is a 400 that names the field.
func TestStrictDecoding(t *testing.T) {
	r := newRig(t)
	r.fill(3)
	for _, c := range []struct{ path, body, field string }{
		{"/v1/similar", `{"positive":["v1"],"kk":3}`, "kk"},
		{"/v1/similar", `{"positive":["v1"],"K":3}`, "K"},
		{"/v1/similar", `{"positive":["v1"],"filter":{"tags":[1]}}`, "filter.tags"},
		{"/v1/similar", `{"positive":["v1"],"k":3,"k":4}`, "k"},
		{"/v1/similar", `{"positive":[{"id":"v1","id":"v2"}]}`, "positive[0].id"},
		{"/v1/similar", `{"positive":["v1"],"k":null}`, "k"},
		{"/v1/similar", `{"positive":null}`, "positive"},
		{"/v1/similar", `{"positive":[{"video":null}]}`, "positive[0].video"},
		{"/v1/similar/batch", `{"queries":[{"positive":["v1"]}],"wait_ms":null}`, "wait_ms"},
		{"/v1/similarity?wait_ms=99999999999999999999", `{"pairs":[["v1","v2"]]}`, "wait_ms"},
		{"/v1/similarity?min_sequence=1", `{"pairs":[["v1","v2"]],"min_sequence":1}`, "min_sequence"},
		{"/v1/similar", `{"positive":["v1"],"k":1.5}`, "k"},
		{"/v1/similar", `{"positive":["v1"],"k":1e99}`, "k"},
		{"/v1/similar", `{"positive":["v1"],"k":"3"}`, "k"},
		{"/v1/similar", `{"positive":["v1"],"k":99999999999999999999}`, "k"},
		{"/v1/similar", `{"positive":["v1"],"min_score":1e999}`, "min_score"},
		{"/v1/similar", `{"positive":["v1"],"min_score":NaN}`, "min_score"},
		{"/v1/similar", `{"positive":["v1"],"min_score":"NaN"}`, "min_score"},
		{"/v1/similar", `{"positive":["v1"],"filter":{"category_ids":[1,"2"]}}`, "filter.category_ids[1]"},
		{"/v1/similar", `{"positive":[{"embedding":[1,"x"]}]}`, "positive[0].embedding[1]"},
		{"/v1/similar", `{"positive":[{"embedding":[3.5e38]}]}`, "positive[0].embedding[0]"},
		{"/v1/similar", `{"positive":[{"video":{"title":"x","titel":"y"}}]}`, "positive[0].video.titel"},
		{"/v1/similar", `{"positive":[{"video":{"title":7}}]}`, "positive[0].video.title"},
		{"/v1/similar", `{"positive":` + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000) + `}`, "positive[0]"},
		{"/v1/similar", strings.Repeat(`{"positive":`, 20_000), "positive"},
		{"/v1/similar/batch", `{"queries":[{"positive":["v1"],"x":1}]}`, "queries[0].x"},
		{"/v1/similarity", `{"pairs":[["v1",{"id":7}]]}`, "pairs[0][1].id"},
		{"/v1/similarity", `{"pairs":[["v1","v2"]]}{}`, ""},
		{"/v1/embeddings", `{"videos":[{"title":"x","tag_ids":[1.5]}]}`, "videos[0].tag_ids"},
		{"/v1/videos", `{"id":"a","id":"b","title":"x"}`, "id"},
		{"/v1/videos", `{"id":"a","category_id":1e30}`, "category_id"},
		{"/v1/videos", `{"id":"a","title":null}`, "title"},
		{"/v1/videos", `{"id":"a","frames":{"dim":null}}`, "frames.dim"},
		{"/v1/similar", `{"positive":[{"video":{"title":"x","asr_text":null}}]}`, "positive[0].video.asr_text"},
		{"/v1/embeddings", `{"videos":[{"title":"x","tag_ids":[1,null]}]}`, "videos[0].tag_ids[1]"},
	} {
		name := c.body
		if len(name) > 60 {
			name = name[:60]
		}
		t.Run(name, func(t *testing.T) {
			r.t = t
			r.call("POST", c.path, c.body).problem(400, "invalid", c.field)
		})
	}
}
