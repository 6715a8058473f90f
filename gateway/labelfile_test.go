package gateway

import (
	"bufio"
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
	"videosim/shared/vecdb"
)

// Size and quirks of the challenge's label.tsv.
const (
	labelLinesReal = 67_899
	labelIDs       = 63_613
	labelReversed  = 90 // pairs that are there the other way round as well
	labelUnindexed = 40
)

// realisticLabels makes a label.tsv as Python wrote the real one: ids of 16 to
// 19 digits, labels in steps of 0.05 as repr spells them, a third of them 0.0.
func realisticLabels() (text string, ids []string) {
	rng := rand.New(rand.NewPCG(11, 11))
	for i := range labelIDs {
		digits := []int{19, 19, 19, 19, 19, 18, 18, 17, 16}[rng.IntN(9)]
		low := uint64(math.Pow10(digits - 1))
		ids = append(ids, strconv.FormatUint(low+rng.Uint64N(8*low)/labelIDs*labelIDs+uint64(i), 10))
	}
	var b strings.Builder
	line := func(x, y string) {
		label := strconv.FormatFloat(math.Round(20*max(0, rng.Float64()*1.5-0.5))/20, 'f', -1, 64)
		if !strings.Contains(label, ".") {
			label += ".0"
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\n", x, y, label)
	}
	for i := range labelLinesReal - labelReversed {
		x, y := ids[i%labelIDs], ids[(i*31+7+i/labelIDs)%labelIDs]
		line(x, y)
		if i < labelReversed {
			line(y, x)
		}
	}
	return b.String(), ids
}

// A label file of the real size and form, posted as it is: every line is
// answered in order with the dot product of the stored embeddings, and the
// evaluation is that of training.
func TestRealLabelFile(t *testing.T) {
	r := newRig(t)
	text, ids := realisticLabels()
	stored := make(map[string][]float32, len(ids))
	var records []vecdb.Record
	for i, id := range ids[labelUnindexed:] {
		stored[id] = vectorOf(id)
		records = append(records, vecdb.Record{ID: id, Embedding: stored[id], Sequence: uint64(i + 1)})
	}
	if err := r.index.Upsert(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	pairs, err := eval.ReadPairs(strings.NewReader(text), eval.PairLimits{NeedLabel: true})
	if err != nil || len(pairs) != labelLinesReal {
		t.Fatalf("%d pairs: %v", len(pairs), err)
	}
	want := eval.Evaluate(pairs, func(id string) ([]float32, bool) { v, ok := stored[id]; return v, ok })

	// As the file is, and as an editor on Windows would leave it.
	for name, body := range map[string]string{"as it is": text, "CRLF, BOM and blank lines": "\ufeff\r\n" + strings.ReplaceAll(text, "\n", "\r\n") + "\r\n"} {
		res, err := http.Post(r.url+"/v1/similarity", tsv, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		lines, missing := bufio.NewScanner(res.Body), 0
		for i, p := range pairs {
			if !lines.Scan() {
				t.Fatalf("%s: %d lines: %v", name, i, lines.Err())
			}
			fields := strings.Split(lines.Text(), "\t")
			a, b := stored[p.A], stored[p.B]
			if len(fields) != 3 || fields[0] != p.A || fields[1] != p.B || (fields[2] == "") != (a == nil || b == nil) {
				t.Fatalf("%s, line %d: %q for %v", name, i+1, lines.Text(), p)
			}
			if fields[2] == "" {
				missing++
				continue
			}
			if got, err := strconv.ParseFloat(fields[2], 64); err != nil || math.Abs(got-dotOf(a, b)) > 1e-6 {
				t.Fatalf("%s, line %d: %s, want %v", name, i+1, fields[2], dotOf(a, b))
			}
		}
		if lines.Scan() || lines.Err() != nil {
			t.Errorf("%s: more than the lines: %q %v", name, lines.Text(), lines.Err())
		}
		_ = res.Body.Close()
		if res.Trailer.Get(trailerMissing) != strconv.Itoa(missing) || res.Trailer.Get(trailerPairs) != strconv.Itoa(len(pairs)-missing) || missing == 0 {
			t.Errorf("%s: trailers %v, want %d missing", name, res.Trailer, missing)
		}
		got := r.call("POST", "/v1/evaluations", body, "Content-Type", tsv).want(200)
		if got.value["spearman"].(float64) != want.Spearman || int(got.value["pairs"].(float64)) != want.Pairs || int(got.value["missing"].(float64)) != missing {
			t.Errorf("%s: %s, want %v over %d", name, got.body, want.Spearman, want.Pairs)
		}
	}
	// There are no comments: a line that is no pair is refused, not passed over.
	r.call("POST", "/v1/evaluations", text[:1000]+"\n# end\n", "Content-Type", tsv).want(400)
	r.call("POST", "/v1/similarity", "# id1\tid2\tlabel\n"+text, "Content-Type", tsv).problem(400, "invalid", "line 1, label")
}

// idle waits until no call is at work.
func (r *rig) idle(within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if promtest.ToFloat64(r.metrics.inFlight) == 0 && len(r.slots) == 0 {
			return true
		}
	}
	return false
}

// A client that goes away in the middle of a stream, and one that never reads
// what it asked for, are let go of with all they held.
func TestStreamsOfLostClientsEnd(t *testing.T) {
	r := newRig(t, func(c *Config) { c.StreamTimeout = 500 * time.Millisecond })
	r.fill(10)
	stream := func(bytes int) net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(conn, "POST /v1/similarity HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", tsv, bytes)
		return conn
	}
	block := []byte(strings.Repeat("v1\tv2\n", streamChunk))

	gone := stream(1 << 30)
	if _, err := gone.Write(block); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(gone, make([]byte, 1000)); err != nil {
		t.Fatalf("no answer to the first chunk: %v", err)
	}
	_ = gone.Close()
	if !r.idle(5 * time.Second) {
		t.Error("the stream of a client that went away is still at work")
	}

	silent := stream(1 << 30)
	if _, err := silent.Write(block); err != nil {
		t.Fatal(err)
	}
	if !r.idle(5 * time.Second) {
		t.Error("a client that sends no more holds its slot")
	}

	const blocks = 150 // whose answer, 12 MB, no socket holds
	deaf := stream(blocks * len(block))
	_ = deaf.(*net.TCPConn).SetReadBuffer(16 << 10)
	for range blocks {
		if _, err := deaf.Write(block); err != nil {
			break // the gateway may hang up before it has all
		}
	}
	if !r.idle(20 * time.Second) {
		t.Error("a client that never reads holds its slot")
	}
}
