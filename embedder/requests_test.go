package embedder

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/testkit"
	"videosim/shared/video"
)

func TestRequests(t *testing.T) {
	b := testkit.Bus(t)
	env, _ := start(t, b, &fakeModel{}, testConfig())
	await(t, "ready", func() bool { ok, _ := ready(env); return ok })
	wide := event.FromVideo(video.Video{ID: "wide", Frames: video.Frames{Encoding: video.F16, Dim: 4, Count: 1, Data: make([]byte, 8)}})
	gone := &event.VideoEvent{Id: "gone", Op: event.VideoEvent_DELETE}
	reply := request(t, b, videoEvent("a", "x"), wide, gone, videoEvent("b", "y"), &event.VideoEvent{Title: "no id"})
	results := reply.GetResults()
	for i, id := range map[int]string{0: "a", 3: "b", 4: "content"} {
		if !slices.Equal(results[i].GetLate(), fakeHalf(id, 1)) || results[i].GetError() != "" || !results[i].GetInput().GetTitle() {
			t.Errorf("result %d: %+v, want the embedding of %s", i, results[i], id)
		}
	}
	for i, field := range map[int]string{1: "frames.dim", 2: "op"} {
		if r := results[i]; r.GetErrorKind() != errs.Invalid.String() || r.GetErrorField() != field || len(r.GetEmbedding()) != 0 {
			t.Errorf("result %d: %+v, want an error of kind invalid at %s", i, r, field)
		}
	}
}

func TestRequestsAreShedAndHonourDeadlines(t *testing.T) {
	b := testkit.Bus(t)
	m := &fakeModel{gate: make(chan struct{}, 1<<10)}
	m.gate <- struct{}{}
	m.gate <- struct{}{}
	env, _ := start(t, b, m, testConfig()) // 8 slots
	await(t, "ready", func() bool { ok, _ := ready(env); return ok })
	many := make([]*event.VideoEvent, 9)
	for i := range many {
		many[i] = videoEvent(fmt.Sprint("m", i), "x")
	}
	if _, err := b.RequestEmbed(t.Context(), testFingerprint, &event.EmbedRequest{Videos: many}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("more videos than slots: %v, want invalid", err)
	}
	if _, err := b.RequestEmbed(t.Context(), testFingerprint, &event.EmbedRequest{}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("no videos: %v, want invalid", err)
	}
	first := make(chan error, 1)
	go func() {
		_, err := b.RequestEmbed(context.WithoutCancel(t.Context()), testFingerprint, &event.EmbedRequest{Videos: many[:6]})
		first <- err
	}()
	await(t, "the first request at the model", func() bool { return len(m.batches()) == 3 })
	if _, err := b.RequestEmbed(t.Context(), testFingerprint, &event.EmbedRequest{Videos: many[6:]}); errs.KindOf(err) != errs.Overloaded {
		t.Errorf("3 videos beside 6 in 8 slots: %v, want overloaded", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	reply, err := b.RequestEmbed(ctx, testFingerprint, &event.EmbedRequest{Videos: many[6:8]})
	for _, r := range reply.GetResults() { // where the answer won the race with the deadline
		if r.GetErrorKind() != errs.Unavailable.String() {
			t.Errorf("behind a busy model: %+v, want unavailable", r)
		}
	}
	if reply == nil && errs.KindOf(err) != errs.Unavailable {
		t.Errorf("behind a busy model: %v, want its deadline", err)
	}
	close(m.gate)
	if err := <-first; err != nil {
		t.Errorf("first request: %v", err)
	}
	request(t, b, many[0]) // the slots are free again
	for _, call := range m.batches() {
		if slices.Contains(call, "m6") {
			t.Error("the model was given a video whose deadline had passed")
		}
	}
}

func request(t *testing.T, b *bus.Bus, videos ...*event.VideoEvent) *event.EmbedReply {
	t.Helper()
	reply, err := b.RequestEmbed(t.Context(), testFingerprint, &event.EmbedRequest{Videos: videos})
	if err != nil {
		t.Fatal(err)
	}
	return reply
}
