package bus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/testkit"
)

func echo(_ context.Context, req *event.EmbedRequest) *event.EmbedReply {
	reply := &event.EmbedReply{}
	for _, v := range req.GetVideos() {
		reply.Results = append(reply.Results, &event.EmbedResult{Embedding: []float32{float32(len(v.GetTitle()))}})
	}
	return reply
}

func request(title string) *event.EmbedRequest {
	return &event.EmbedRequest{Videos: []*event.VideoEvent{{Id: "v", Title: title}}}
}

func TestEmbedRequests(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	if _, err := b.RequestEmbed(within(t), "fp", request("title")); errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "no embedder") {
		t.Errorf("without an embedder: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	must(t, b.ServeEmbed(ctx, "fp", func(ctx context.Context, req *event.EmbedRequest) *event.EmbedReply {
		deadline, ok := ctx.Deadline()
		switch {
		case !ok || time.Until(deadline) > patience:
			t.Errorf("deadline %v, expected the caller's", deadline)
		case req.GetVideos()[0].GetTitle() == "whole":
			reply := &event.EmbedReply{}
			reply.ErrorKind, _, reply.Error = event.FaultOf(errs.New(errs.Overloaded, "full"))
			return reply
		case req.GetVideos()[0].GetTitle() == "short":
			return &event.EmbedReply{}
		case req.GetVideos()[0].GetTitle() == "huge":
			return &event.EmbedReply{Results: []*event.EmbedResult{{Embedding: make([]float32, 1<<19)}}}
		}
		return echo(ctx, req)
	}))
	reply, err := b.RequestEmbed(within(t), "fp", request("title"))
	must(t, err)
	if got := reply.GetResults()[0].GetEmbedding()[0]; got != 5 {
		t.Errorf("embedding %v, expected 5", got)
	}
	for title, kind := range map[string]errs.Kind{"whole": errs.Overloaded, "short": errs.Corrupt, "huge": errs.Invalid, strings.Repeat("x", 2<<20): errs.Invalid} {
		if _, err := b.RequestEmbed(within(t), "fp", request(title)); errs.KindOf(err) != kind {
			t.Errorf("request %.10s: %v, expected %s", title, err, kind)
		}
	}
	stop()
	eventually(t, func() error {
		if _, err := b.RequestEmbed(within(t), "fp", request("title")); errs.KindOf(err) != errs.Unavailable {
			t.Logf("still served: %v", err)
			return context.DeadlineExceeded
		}
		return nil
	})
}

func TestEmbedRequestEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	handled := make(chan error, 1)
	must(t, b.ServeEmbed(t.Context(), "fp", func(ctx context.Context, _ *event.EmbedRequest) *event.EmbedReply {
		<-ctx.Done()
		time.Sleep(200 * time.Millisecond) // the answer is late
		handled <- ctx.Err()
		return &event.EmbedReply{}
	}))
	ctx, cancel := context.WithTimeout(within(t), 200*time.Millisecond)
	defer cancel()
	if _, err := b.RequestEmbed(ctx, "fp", request("title")); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("error %v, expected unavailable", err)
	}
	select {
	case <-handled: // the handler was told as well
	case <-time.After(patience):
		t.Error("the handler never ended")
	}
}

func TestEmbedRequestsAreBounded(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	release := make(chan struct{})
	must(t, b.ServeEmbed(t.Context(), "fp", func(ctx context.Context, req *event.EmbedRequest) *event.EmbedReply {
		<-release
		return echo(ctx, req)
	}))
	const many = 300 // more than are let in
	answers := make(chan error, many)
	for range many {
		go func() {
			_, err := b.RequestEmbed(within(t), "fp", request("title"))
			answers <- err
		}()
	}
	for range many - 256 {
		if err := <-answers; errs.KindOf(err) != errs.Overloaded {
			t.Errorf("answer %v, expected overloaded while the handlers are busy", err)
		}
	}
	close(release)
	for range 256 {
		must(t, <-answers)
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	store, err := b.JS.CreateObjectStore(within(t), jetstream.ObjectStoreConfig{Bucket: "frames"})
	must(t, err)
	_, err = store.PutBytes(within(t), "key", []byte("frames"))
	must(t, err)
	data, err := b.Object(within(t), "frames", "key", 6)
	if err != nil || string(data) != "frames" {
		t.Errorf("read %q, %v", data, err)
	}
	for _, c := range []struct {
		bucket, key string
		max         int
		kind        errs.Kind
	}{{"frames", "key", 5, errs.Invalid}, {"frames", "other", 6, errs.NotFound}, {"none", "key", 6, errs.NotFound}} {
		if _, err := b.Object(within(t), c.bucket, c.key, c.max); errs.KindOf(err) != c.kind {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
