package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFreshness plays the stories in testdata/freshness on the whole way of an
// event. A line is a command and what comes of it:
//
//	publish ID TITLE, delete ID     an event through the gateway
//	embed N, index N                lets N messages pass the embedder, the indexer
//	ask ID min=SEQUENCE wait=MS     which videos are like this one; 504 comes after the wait
//	asking …, still, answer         the same, waiting beside the commands between
//	another gateway                 asks a newly started one from here on
//	restart gateway                 the same, once the one before has ended
func TestFreshness(t *testing.T) {
	files, err := filepath.Glob("testdata/freshness/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("stories %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := story{path: newPath(t, 0)}
			for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
				if strings.HasPrefix(line, "#") {
					continue
				}
				command, want, _ := strings.Cut(line, " = ")
				if got := s.play(strings.Fields(command)); got != want {
					t.Fatalf("%s:%d: %q gives %q", file, i+1, line, got)
				}
			}
		})
	}
}

// story is one at play.
type story struct {
	*path
	waiting chan string // the answer to asking
}

func (s *story) play(words []string) string {
	s.t.Helper()
	switch words[0] {
	case "publish":
		body := asJSON(s.t, map[string]any{"id": words[1], "title": words[2]})
		return fmt.Sprint("sequence ", s.call("POST", "/v1/videos", body).want(202).sequence())
	case "delete":
		return fmt.Sprint("sequence ", s.call("DELETE", "/v1/videos/"+words[1], "").want(202).sequence())
	case "embed", "index":
		tokens := map[string]chan struct{}{"embed": s.embedding, "index": s.indexing}[words[0]]
		var n int
		if _, err := fmt.Sscan(words[1], &n); err != nil {
			s.t.Fatal(err)
		}
		for range n {
			tokens <- struct{}{}
		}
		return "ok"
	case "ask":
		return s.ask(words[1:])
	case "asking":
		s.waiting = make(chan string, 1)
		go func() { s.waiting <- s.ask(words[1:]) }()
		return s.still()
	case "still":
		return s.still()
	case "answer":
		return <-s.waiting
	case "another", "restart":
		if words[0] == "restart" {
			s.stop()
		}
		s.url = "http://" + s.run()
		return "ok"
	}
	s.t.Fatalf("no such command: %v", words)
	return ""
}

// still says whether the answer to asking is not there yet.
func (s *story) still() string {
	select {
	case answer := <-s.waiting:
		return answer
	case <-time.After(150 * time.Millisecond):
		return "waits"
	}
}

// ask asks, and checks what every answer to min_sequence promises.
func (s *story) ask(words []string) string {
	var least float64
	var wait int64
	if _, err := fmt.Sscanf(strings.Join(words[1:], " "), "min=%g wait=%d", &least, &wait); err != nil {
		s.t.Error(err)
	}
	start := time.Now()
	got := s.call("POST", "/v1/similar", fmt.Sprintf(`{"positive":[%q],"min_sequence":%g,"wait_ms":%d}`, words[0], least, wait))
	took := time.Since(start)
	switch got.status {
	case 200:
		if seen := got.value["indexed_sequence"].(float64); seen < least {
			s.t.Errorf("an answer to %g has seen %g", least, seen)
		}
		ids := got.ids()
		slices.Sort(ids)
		return strings.TrimSpace("found " + strings.Join(ids, " "))
	case 504:
		asked := time.Duration(wait) * time.Millisecond
		if got.value["type"] != problemPrefix+"sequence-not-reached" || took < asked || took > asked+2*time.Second {
			s.t.Errorf("after %s of %s: %s", took, asked, got.body)
		}
	}
	return fmt.Sprint(got.status)
}
