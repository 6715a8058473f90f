package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"videosim/shared/event"
)

// Whatever is wrong with the embedder, a question with a content is refused
// with the reason before its deadline, and one about ids alone is answered.
func TestEmbedderTroubles(t *testing.T) {
	const deadline = 300 * time.Millisecond
	for _, c := range []struct {
		name   string
		embed  busEmbedHandler // nil: no embedder of the model runs
		status int
		detail string
	}{
		{"away", nil, 503, "no embedder runs"},
		{"full", func(context.Context, *event.EmbedRequest) *event.EmbedReply {
			return &event.EmbedReply{Error: "64 videos at work already", ErrorKind: "overloaded"}
		}, 429, "64 videos at work already"},
		{"out of memory for one", func(context.Context, *event.EmbedRequest) *event.EmbedReply {
			return &event.EmbedReply{Results: []*event.EmbedResult{{Error: "the queue is full", ErrorKind: "overloaded"}}}
		}, 429, "positive[1]"},
		{"stopping", func(context.Context, *event.EmbedRequest) *event.EmbedReply {
			return &event.EmbedReply{Error: "the embedder is stopping", ErrorKind: "unavailable"}
		}, 503, "stopping"},
		{"hanging", func(context.Context, *event.EmbedRequest) *event.EmbedReply {
			time.Sleep(5 * deadline)
			return &event.EmbedReply{}
		}, 503, "not answered in time"},
		{"slow, but told the deadline", func(ctx context.Context, _ *event.EmbedRequest) *event.EmbedReply {
			if end, ok := ctx.Deadline(); !ok || time.Until(end) > deadline {
				return &event.EmbedReply{Error: "no deadline came", ErrorKind: "internal"}
			}
			<-ctx.Done()
			return &event.EmbedReply{Error: "not answered in time", ErrorKind: "unavailable"} // may come a moment before the caller gives up
		}, 503, "not answered in time"},
		{"answers too few", func(context.Context, *event.EmbedRequest) *event.EmbedReply { return &event.EmbedReply{} }, 500, "log has the reason"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.fill(10)
			if c.embed == nil {
				r.engine.Model.Fingerprint = "ffffffffffff"
			} else {
				r.lane.Store(&c.embed)
			}
			for path, body := range map[string]string{
				"/v1/similar":    `{"positive":["v1",{"video":{"title":"x"}}]}`,
				"/v1/similarity": `{"pairs":[["v1",{"video":{"title":"x"}}]]}`,
				"/v1/embeddings": `{"videos":[{"title":"x"}]}`,
			} {
				start := time.Now()
				got := r.call("POST", path, body, "Videosim-Timeout-Ms", fmt.Sprint(deadline.Milliseconds())).want(c.status)
				if took := time.Since(start); took > deadline+time.Second {
					t.Errorf("%s: refused after %s", path, took)
				}
				detail := strings.NewReplacer("pairs[0][1]", "positive[1]", "videos[0]", "positive[1]").Replace(got.value["detail"].(string))
				if !strings.Contains(detail, c.detail) {
					t.Errorf("%s: %q does not say %q", path, detail, c.detail)
				}
				if (c.status == 429) != (got.header.Get("Retry-After") != "") {
					t.Errorf("%s: Retry-After %q with %d", path, got.header.Get("Retry-After"), c.status)
				}
			}
			r.call("POST", "/v1/similar", `{"positive":["v1"]}`).want(200)
		})
	}
}

// What was cut from a content and what it lacked is in every answer about it.
func TestContentsAreReported(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	report := func(v *event.VideoEvent) *event.InputReport {
		return &event.InputReport{Title: v.Title != "", Speech: v.AsrText != "", Frames: v.Frames != nil, TokensCut: 7, TitleTokensCut: 5, FramesCut: 3}
	}
	handler := busEmbedHandler(func(ctx context.Context, req *event.EmbedRequest) *event.EmbedReply {
		reply := embedTitles(ctx, req)
		for i, v := range req.Videos {
			reply.Results[i].Input = report(v)
		}
		return reply
	})
	r.lane.Store(&handler)
	for path, body := range map[string]string{
		"/v1/similar":    `{"positive":["v1"],"negative":[{"video":{"id":"mine","title":"x","frames":{"dim":4,"count":1,"data":"AAAAAAAAAAA="}}}]}`,
		"/v1/similarity": `{"pairs":[["v1",{"video":{"id":"mine","title":"x","frames":{"dim":4,"count":1,"data":"AAAAAAAAAAA="}}}]]}`,
		"/v1/embeddings": `{"videos":[{"id":"mine","title":"x","frames":{"dim":4,"count":1,"data":"AAAAAAAAAAA="}}]}`,
	} {
		got := r.call("POST", path, body).want(200)
		at := map[string]string{"/v1/similar": "negative[0]", "/v1/similarity": "pairs[0][1]", "/v1/embeddings": "videos[0]"}[path]
		want := fmt.Sprintf("[map[frames_cut:3 id:mine input:%s modalities:[title frames] title_tokens_cut:5 tokens_cut:7]]", at)
		if found := fmt.Sprint(got.value["inputs"]); found != want {
			t.Errorf("%s: %s, want %s", path, found, want)
		}
	}
}

// Vectors of one model are never compared with another's: a caller that says
// which model its own are of is refused by a gateway of another.
func TestOtherModelIsRefused(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	for _, c := range []struct{ method, path, body, contentType string }{
		{"GET", "/v1/videos/v1/similar?model=%s", "", ""},
		{"GET", "/v1/videos/v1?model=%s", "", ""},
		{"POST", "/v1/similar", `{"positive":["v1"],"model":"%s"}`, "application/json"},
		{"POST", "/v1/similar/batch", `{"queries":[{"positive":["v1"]}],"model":"%s"}`, "application/json"},
		{"POST", "/v1/similarity", `{"pairs":[["v1","v2"]],"model":"%s"}`, "application/json"},
		{"POST", "/v1/similarity?model=%s", "v1\tv2\n", tsv},
		{"POST", "/v1/evaluations?model=%s", "v1\tv2\t1\nv1\tv3\t0\n", tsv},
	} {
		say := func(model string) (path, body string) {
			return strings.Replace(c.path, "%s", model, 1), strings.Replace(c.body, "%s", model, 1)
		}
		path, body := say("ba9876543210")
		r.call(c.method, path, body, "Content-Type", c.contentType).problem(409, "other-model", "model")
		path, body = say(testModel)
		r.call(c.method, path, body, "Content-Type", c.contentType).want(200)
	}
	r.call("POST", "/v1/similar/batch", `{"queries":[{"positive":["v1"],"model":"x"}]}`).problem(400, "invalid", "queries[0].min_sequence")
}

// What a body is packed in is not guessed.
func TestPackedBodiesAreRefused(t *testing.T) {
	r := newRig(t)
	r.fill(3)
	for _, path := range []string{"/v1/similar", "/v1/similarity", "/v1/evaluations", "/v1/embeddings", "/v1/videos"} {
		got := r.call("POST", path, "\x1f\x8b\x08", "Content-Encoding", "gzip").problem(415, "unsupported-media-type", "Content-Encoding")
		if got.header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s: Accept-Encoding %q", path, got.header.Get("Accept-Encoding"))
		}
	}
	r.call("POST", "/v1/similarity", "\x1f\x8b\x08", "Content-Type", tsv).problem(400, "invalid", "line 1")
	r.call("POST", "/v1/similar", `{"positive":["v1"]}`, "Content-Encoding", "identity").want(200)
}
