package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	promtest "github.com/prometheus/client_golang/prometheus/testutil"

	"videosim/shared/eval"
)

const tsv = "text/tab-separated-values"

func cosineOf(i, j int) float64 {
	return eval.Cosine(vectorOf(fmt.Sprintf("title %d", i)), vectorOf(fmt.Sprintf("title %d", j)))
}

func TestSimilarityOfPairs(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	got := r.call("POST", "/v1/similarity", `{"pairs":[["v1","v2"],[{"id":"v3"},{"video":{"id":"mine","title":"title 4"}}],["v1","nobody"],["v5","v5"]]}`).want(200)
	results := got.value["results"].([]any)
	for i, want := range []any{cosineOf(1, 2), cosineOf(3, 4), nil, 1.0} {
		result := results[i].(map[string]any)
		cosine, known := result["cosine"].(float64)
		if want == nil {
			if result["cosine"] != nil || result["score"] != nil {
				t.Errorf("pair %d: %v, want nulls", i, result)
			}
			continue
		}
		if !known || math.Abs(cosine-want.(float64)) > 1e-6 {
			t.Errorf("pair %d: cosine %v, want %v", i, result["cosine"], want)
		}
		if score := testManifest().Calibration.Score(cosine); result["score"].(float64) != score {
			t.Errorf("pair %d: score %v, want %v", i, result["score"], score)
		}
	}
	if second := results[1].(map[string]any); second["a"] != "v3" || second["b"] != "mine" {
		t.Errorf("ids: %v", second)
	}
	if fmt.Sprint(got.value["missing_ids"]) != "[nobody]" || len(got.value["inputs"].([]any)) != 1 {
		t.Errorf("envelope: %s", got.body)
	}
	for body, field := range map[string]string{
		`{}`: "pairs", `{"pairs":[["v1"]]}`: "pairs[0]", `{"pairs":[["v1","v2"],["v1",7]]}`: "pairs[1][1]",
		`{"pairs":[["v1",{"video":{"title":"x","op":"DELETE"}}]]}`: "pairs[0][1].video.op",
	} {
		r.call("POST", "/v1/similarity", body).problem(400, "invalid", field)
	}
}

// labels makes n lines with ids of fill(m) and some that nobody has.
func labels(n, m int) (text string, pairs []eval.Pair) {
	rng := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for range n {
		p := eval.Pair{A: fmt.Sprintf("v%d", rng.IntN(m+2)), B: fmt.Sprintf("v%d", rng.IntN(m)), Label: float64(rng.IntN(21)) / 20, HasLabel: true}
		pairs = append(pairs, p)
		fmt.Fprintf(&b, "%s\t%s\t%g\n", p.A, p.B, p.Label)
	}
	return b.String(), pairs
}

func (r *rig) lookup(id string) ([]float32, bool) {
	n, err := strconv.Atoi(id[1:])
	if count, _ := r.index.Count(r.t.Context()); err != nil || n >= int(count) {
		return nil, false
	}
	return vectorOf("title " + id[1:]), true
}

func TestSimilarityStream(t *testing.T) {
	r := newRig(t)
	r.fill(50)
	text, pairs := labels(10_000, 50) // three chunks
	req, _ := http.NewRequestWithContext(t.Context(), "POST", r.url+"/v1/similarity", strings.NewReader(text))
	req.Header.Set("Content-Type", tsv)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines, missing := bufio.NewScanner(res.Body), 0
	for i, p := range pairs {
		if !lines.Scan() {
			t.Fatalf("%d lines, want %d: %v", i, len(pairs), lines.Err())
		}
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 3 || fields[0] != p.A || fields[1] != p.B {
			t.Fatalf("line %d: %q for %v", i+1, lines.Text(), p)
		}
		a, okA := r.lookup(p.A)
		b, okB := r.lookup(p.B)
		if !okA || !okB {
			missing++
			if fields[2] != "" {
				t.Fatalf("line %d: %q, want no score", i+1, lines.Text())
			}
			continue
		}
		if got, err := strconv.ParseFloat(fields[2], 64); err != nil || math.Abs(got-eval.Cosine(a, b)) > 1e-6 {
			t.Fatalf("line %d: %q, want %v", i+1, lines.Text(), eval.Cosine(a, b))
		}
	}
	if lines.Scan() {
		t.Fatalf("one line too many: %q", lines.Text())
	}
	if res.Header.Get("Videosim-Model") != testModel || res.Header.Get("Videosim-Indexed-Sequence") != "50" {
		t.Errorf("headers: %v", res.Header)
	}
	if missing == 0 || res.Trailer.Get("Videosim-Missing") != strconv.Itoa(missing) || res.Trailer.Get("Videosim-Pairs") != strconv.Itoa(len(pairs)-missing) {
		t.Errorf("trailers: %v, want %d missing", res.Trailer, missing)
	}
	if got := res.Trailer.Get("Videosim-Missing-Ids"); got != `"v50" "v51"` && got != `"v51" "v50"` {
		t.Errorf("missing ids: %q", got)
	}
}

func TestSimilarityStreamForms(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	want := fmt.Sprintf("v1\tv2\t%.9f\n", cosineOf(1, 2))
	for _, c := range []struct{ contentType, body string }{
		{tsv, "v1\tv2"}, {"text/plain; charset=utf-8", "v1\tv2\t0.5\r\n"}, {formType, "v1\tv2\n\n"}, {"application/octet-stream", "\xef\xbb\xbfv1\tv2\n"},
	} {
		if got := r.call("POST", "/v1/similarity", c.body, "Content-Type", c.contentType).want(200); string(got.body) != want {
			t.Errorf("%s: %q, want %q", c.contentType, got.body, want)
		}
	}
	if got := r.call("POST", "/v1/similarity?column=score", "v1\tv1\n", "Content-Type", tsv).want(200); string(got.body) != "v1\tv1\t1.000000000\n" {
		t.Errorf("score: %q", got.body)
	}
	if got := r.call("POST", "/v1/similarity", "", "Content-Type", tsv).want(200); len(got.body) != 0 {
		t.Errorf("empty: %q", got.body)
	}
	r.call("POST", "/v1/similarity", `{"pairs":[["v1","v2"]]}`, "Content-Type", formType).want(200)
	r.call("POST", "/v1/similarity", "v1 v2\n", "Content-Type", tsv).problem(400, "invalid", "line 1")
	r.call("POST", "/v1/similarity", "v1\tv2\t7\n", "Content-Type", tsv).problem(400, "invalid", "line 1, label")
	r.call("POST", "/v1/similarity", strings.Repeat("x", 5000), "Content-Type", tsv).problem(400, "invalid", "line 1")
	r.call("POST", "/v1/similarity?column=x", "v1\tv2\n", "Content-Type", tsv).problem(400, "invalid", "column")
	r.call("POST", "/v1/similarity", "<a/>", "Content-Type", "text/xml").problem(415, "unsupported-media-type", "Content-Type")
}

// A bad line behind good ones must not look like the end.
func TestSimilarityStreamBreaks(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	body := strings.Repeat("v1\tv2\n", streamChunk) + "bad\n"
	res, err := http.Post(r.url+"/v1/similarity", tsv, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil {
		t.Fatalf("the answer ended well after %d bytes", len(got))
	}
	last := got[bytes.LastIndexByte(bytes.TrimSpace(got), '\n')+1:]
	if !bytes.HasPrefix(last, []byte("#error\turn:videosim:problem:invalid\tline 4097")) {
		t.Errorf("last line %q", last)
	}
}

// A client that sends all before it reads anything gets its answer, and one
// that reads along needs no file.
func TestSimilarityStreamUnread(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	const n = 1_500_000
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	line := "v1\tv2\n"
	fmt.Fprintf(conn, "POST /v1/similarity HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", tsv, n*len(line))
	block := []byte(strings.Repeat(line, 1000))
	for range n / 1000 {
		if _, err := conn.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.Copy(io.Discard, res.Body)
	if want := int64(n * len(fmt.Sprintf("v1\tv2\t%.9f\n", cosineOf(1, 2)))); err != nil || got != want {
		t.Fatalf("%d bytes and %v, want %d", got, err, want)
	}
	if res.Trailer.Get("Videosim-Pairs") != strconv.Itoa(n) {
		t.Errorf("trailers: %v", res.Trailer)
	}
	if promtest.ToFloat64(r.metrics.spilled) == 0 {
		t.Error("nothing was kept in a file: the test proves nothing")
	}
}

func TestEvaluation(t *testing.T) {
	r := newRig(t)
	r.fill(50)
	text, pairs := labels(20_000, 50) // several stretches, pairs repeat
	want := eval.Evaluate(pairs, r.lookup)
	got := r.call("POST", "/v1/evaluations", text, "Content-Type", tsv).want(200)
	if got.value["spearman"].(float64) != want.Spearman || int(got.value["pairs"].(float64)) != want.Pairs || int(got.value["missing"].(float64)) != want.Missing {
		t.Errorf("got %s\nwant %v pairs=%d missing=%d", got.body, want.Spearman, want.Pairs, want.Missing)
	}
	if fmt.Sprint(got.value["missing_ids"]) != fmt.Sprint(want.MissingIDs) {
		t.Errorf("missing: %v, want %v", got.value["missing_ids"], want.MissingIDs)
	}
	if got := r.call("POST", "/v1/evaluations", "v1\tv2\t0.5\nv3\tv4\n", "Content-Type", tsv).want(200); got.value["spearman"] != nil || got.value["unlabelled"].(float64) != 1 {
		t.Errorf("undefined: %s", got.body)
	}
	r.call("POST", "/v1/evaluations", "v1\tv2\tx\n").problem(400, "invalid", "line 1, label")
	small := newRig(t, func(c *Config) { c.MaxLabelPairs = 1 })
	small.call("POST", "/v1/evaluations", "v1\tv2\t1\nv1\tv3\t1\n").problem(400, "invalid", "line 2")
}

func TestEmbeddings(t *testing.T) {
	r := newRig(t)
	got := r.call("POST", "/v1/embeddings", `{"videos":[{"title":"a"},{"id":"b","title":"b"}]}`).want(200)
	all := got.value["embeddings"].([]any)
	for i, title := range []string{"a", "b"} {
		for j, want := range vectorOf(title) {
			if found := all[i].([]any)[j].(float64); math.Abs(found-float64(want)) > 1e-7 {
				t.Fatalf("embedding %d, number %d: %v, want %v", i, j, found, want)
			}
		}
	}
	r.call("POST", "/v1/embeddings", `{"videos":[]}`).problem(400, "invalid", "videos")
	r.call("POST", "/v1/embeddings", `{"videos":[{"title":"a"},{}]}`).problem(400, "invalid", "videos[1]")
}
