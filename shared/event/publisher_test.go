package event_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/testkit"
)

const patience = 20 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func publisher(t testing.TB, nc *nats.Conn, cfg event.PublisherConfig) *event.Publisher {
	t.Helper()
	p, err := event.NewPublisher(nc, cfg)
	must(t, err)
	return p
}

func TestPublish(t *testing.T) {
	b := testkit.Bus(t)
	p := publisher(t, b.Conn, event.PublisherConfig{})
	e := &event.VideoEvent{Id: "a.b", Title: "标题"}
	seq, err := p.Publish(within(t), e)
	must(t, err)
	if again, err := p.Publish(within(t), e); err != nil || again != seq+1 {
		t.Errorf("the same content published twice is %d, %v: expected %d, an event of its own", again, err, seq+1)
	}
	s, err := b.JS.Stream(within(t), event.StreamVideos)
	must(t, err)
	msg, err := s.GetMsg(within(t), seq+1)
	must(t, err)
	if msg.Subject != event.VideoSubject("a.b") || msg.Header.Get("Content-Type") != "application/protobuf" || msg.Header.Get("Nats-Msg-Id") == "" {
		t.Errorf("message %s %v", msg.Subject, msg.Header)
	}
	got, err := event.Decode(msg.Data, msg.Header.Get("Content-Type"))
	if err != nil || !proto.Equal(got, e) {
		t.Errorf("event %v, %v", got, err)
	}
}

func TestPublishCarriesTheTrace(t *testing.T) {
	b := testkit.Bus(t)
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	_, err := publisher(t, b.Conn, event.PublisherConfig{}).Publish(trace.ContextWithSpanContext(within(t), span), &event.VideoEvent{Id: "v"})
	must(t, err)
	s, err := b.JS.Stream(within(t), event.StreamVideos)
	must(t, err)
	msg, err := s.GetMsg(within(t), 1)
	must(t, err)
	const want = "00-01000000000000000000000000000000-0200000000000000-00"
	if got := msg.Header.Get("traceparent"); got != want {
		t.Errorf("traceparent %q, expected %q", got, want)
	}
}

func TestPublishRefuses(t *testing.T) {
	b := testkit.Bus(t)
	p := publisher(t, b.Conn, event.PublisherConfig{})
	if _, err := p.Publish(within(t), &event.VideoEvent{}); errs.FieldOf(err) != "id" {
		t.Errorf("%v, expected the id named", err)
	}
	if _, err := p.PublishAsync(within(t), &event.VideoEvent{Id: "v", Frames: &event.Frames{
		Dim: 1, Count: 1, Data: make([]byte, event.MaxInlineBytes+1),
	}}); errs.FieldOf(err) != "frames.data" {
		t.Errorf("%v, expected the frames named", err)
	}
}

func TestPublishWithoutAStreamEnds(t *testing.T) {
	s := testkit.NATS(t)
	nc, err := nats.Connect(s.ClientURL())
	must(t, err)
	t.Cleanup(nc.Close)
	p := publisher(t, nc, event.PublisherConfig{Deadline: 300 * time.Millisecond})
	if _, err := p.Publish(within(t), &event.VideoEvent{Id: "v"}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("%v, expected unavailable", err)
	}
}

// deaf passes bytes between a client and the server, and drops what the server
// answers to the first publish: the event is stored, and the client never
// learns it.
type deaf struct {
	net.Listener
	server string
	mu     sync.Mutex
	drops  int
}

func (d *deaf) serve() {
	for {
		client, err := d.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", d.server)
		if err != nil {
			client.Close()
			continue
		}
		go func() { defer server.Close(); pass(server, client, func([]byte) bool { return false }) }()
		go func() { defer client.Close(); pass(client, server, d.isAnswer) }()
	}
}

func (d *deaf) isAnswer(data []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drops > 0 && bytes.Contains(data, []byte(`"stream":"VIDEOS"`)) {
		d.drops--
		return true
	}
	return false
}

func pass(to, from net.Conn, drop func([]byte) bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !drop(buf[:n]) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

func TestRetryIsOneEvent(t *testing.T) {
	b := testkit.Bus(t)
	server, err := url.Parse(b.Conn.ConnectedUrl())
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	d := &deaf{Listener: l, server: server.Host, drops: 1}
	t.Cleanup(func() { l.Close() })
	go d.serve()
	nc, err := nats.Connect("nats://" + l.Addr().String())
	must(t, err)
	t.Cleanup(nc.Close)
	p := publisher(t, nc, event.PublisherConfig{Attempt: 300 * time.Millisecond})
	seq, err := p.Publish(within(t), &event.VideoEvent{Id: "v"})
	must(t, err)
	state, err := b.StreamState(within(t), event.StreamVideos)
	must(t, err)
	if d.drops != 0 || seq != 1 || state.Last != 1 {
		t.Errorf("sequence %d, stream %+v, %d answers left to drop: expected the retry to be the same event", seq, state, d.drops)
	}
}

func TestAsyncKeepsTheOrderOfAVideo(t *testing.T) {
	b := testkit.Bus(t)
	p := publisher(t, b.Conn, event.PublisherConfig{Window: 8})
	var pending []*event.Pending
	for i := range 200 {
		next, err := p.PublishAsync(within(t), &event.VideoEvent{Id: fmt.Sprint("v", i%3), Title: fmt.Sprint(i)})
		must(t, err)
		pending = append(pending, next)
	}
	must(t, p.Flush(within(t)))
	var ofOne []uint64
	for i, next := range pending {
		seq, err := next.Wait(within(t))
		must(t, err)
		if i%3 == 0 {
			ofOne = append(ofOne, seq)
		}
	}
	if !slices.IsSorted(ofOne) {
		t.Errorf("sequences of one video: %v, expected them to rise", ofOne)
	}
	e, _, err := b.LastVideo(within(t), "v1")
	if err != nil || e.GetTitle() != "199" {
		t.Errorf("the last event of v1 is %v, %v: expected the one published last", e, err)
	}
}

func TestAsyncReportsFailures(t *testing.T) {
	b := testkit.Bus(t)
	must(t, b.JS.DeleteStream(within(t), event.StreamVideos))
	p := publisher(t, b.Conn, event.PublisherConfig{Window: 1, Deadline: 200 * time.Millisecond})
	first, err := p.PublishAsync(within(t), &event.VideoEvent{Id: "v"})
	must(t, err)
	ctx, cancel := context.WithTimeout(within(t), 20*time.Millisecond)
	defer cancel()
	if _, err := p.PublishAsync(ctx, &event.VideoEvent{Id: "w"}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("with a full window: %v, expected unavailable", err)
	}
	if _, err := first.Wait(within(t)); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("publish: %v, expected unavailable", err)
	}
	if err := p.Flush(within(t)); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("flush: %v, expected what failed", err)
	}
	if err := p.Flush(within(t)); err != nil {
		t.Errorf("second flush: %v, expected nothing new", err)
	}
}

func BenchmarkPublish(b *testing.B) {
	bb := testkit.Bus(b)
	p := publisher(b, bb.Conn, event.PublisherConfig{})
	e := &event.VideoEvent{Title: "标题", Frames: &event.Frames{Dim: 1536, Count: 32, Data: make([]byte, 2*1536*32)}}
	b.SetBytes(int64(proto.Size(e)))
	n := 0
	for b.Loop() {
		n++
		next := proto.Clone(e).(*event.VideoEvent)
		next.Id = fmt.Sprint("v", n%1000)
		if _, err := p.PublishAsync(b.Context(), next); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func TestPublishUnderACallersName(t *testing.T) {
	b := testkit.Bus(t)
	p := publisher(t, b.Conn, event.PublisherConfig{})
	for _, c := range []struct {
		name string
		want uint64
	}{{"mine", 1}, {"mine", 1}, {"other", 2}, {"", 3}, {"", 4}} {
		if seq, err := p.PublishAs(within(t), c.name, &event.VideoEvent{Id: "v"}); err != nil || seq != c.want {
			t.Errorf("as %q: sequence %d, %v; expected %d", c.name, seq, err, c.want)
		}
	}
}
