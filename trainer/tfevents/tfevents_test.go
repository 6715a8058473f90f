package tfevents_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"videosim/shared/video"
	"videosim/trainer/tfevents"
)

// event is a decoded record, by field numbers of event.proto.
type event struct {
	wall    float64
	step    int64
	version string
	session []byte
	scalars []tfevents.Scalar
}

func readEvents(t *testing.T, path string) []event {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := video.NewReader(bytes.NewReader(data), path)
	var out []event
	for {
		payload, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, decodeEvent(t, payload))
	}
}

func decodeEvent(t *testing.T, payload []byte) event {
	var e event
	fields(t, payload, func(n protowire.Number, number uint64, body []byte) {
		switch n {
		case 1:
			e.wall = math.Float64frombits(number)
		case 2:
			e.step = int64(number)
		case 3:
			e.version = string(body)
		case 5:
			fields(t, body, func(n protowire.Number, _ uint64, value []byte) {
				if n != 1 {
					t.Errorf("field %d in a Summary", n)
				}
				e.scalars = append(e.scalars, decodeScalar(t, value))
			})
		case 7:
			e.session = bytes.Clone(body)
		default:
			t.Errorf("field %d in an Event", n)
		}
	})
	return e
}

func decodeScalar(t *testing.T, value []byte) tfevents.Scalar {
	var s tfevents.Scalar
	fields(t, value, func(n protowire.Number, number uint64, body []byte) {
		switch n {
		case 1:
			s.Tag = string(body)
		case 2:
			s.Value = float64(math.Float32frombits(uint32(number)))
		default:
			t.Errorf("field %d in a Summary.Value", n)
		}
	})
	return s
}

// fields calls use with every field of a message: its number or its bytes.
func fields(t *testing.T, message []byte, use func(n protowire.Number, number uint64, body []byte)) {
	t.Helper()
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		message = message[size:]
		var number uint64
		var body []byte
		switch kind {
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			number, size = protowire.ConsumeFixed64(message)
		case protowire.Fixed32Type:
			var short uint32
			short, size = protowire.ConsumeFixed32(message)
			number = uint64(short)
		case protowire.BytesType:
			body, size = protowire.ConsumeBytes(message)
		default:
			t.Fatalf("field %d has wire type %d", n, kind)
		}
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		use(n, number, body)
		message = message[size:]
	}
}

func TestAFileHoldsWhatWasWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	now := time.Unix(1_700_000_000, 500_000_000)
	w, err := tfevents.Create(dir, now, 7)
	if err != nil {
		t.Fatal(err)
	}
	first := []tfevents.Scalar{{Tag: "loss/total", Value: 0.5}, {Tag: "标签", Value: -1e-3}}
	if err := errors.Join(w.Write(now, 7, first), w.Write(now.Add(time.Second), 1<<40, nil), w.Sync(), w.Close()); err != nil {
		t.Fatal(err)
	}
	files, err := tfevents.Files(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v: want one", files, err)
	}
	events := readEvents(t, files[0])
	if len(events) != 4 {
		t.Fatalf("%d events, want 4: %+v", len(events), events)
	}
	if e := events[0]; e.version != "brain.Event:2" || e.wall != 1_700_000_000.5 {
		t.Errorf("the file begins with %+v", e)
	}
	if e := events[1]; e.step != 7 || !bytes.Equal(e.session, []byte{1 << 3, 1}) {
		t.Errorf("second event %+v, want a session that starts at step 7", e)
	}
	want := []tfevents.Scalar{first[0], {Tag: "标签", Value: float64(float32(-1e-3))}}
	if e := events[2]; e.step != 7 || !slices.Equal(e.scalars, want) {
		t.Errorf("third event %+v, want %v", e, want)
	}
	if e := events[3]; e.step != 1<<40 || e.wall != 1_700_000_001.5 || len(e.scalars) != 0 {
		t.Errorf("fourth event %+v", e)
	}
}

// TensorBoard reads files in the order of their names, so a later one must
// sort behind, even if the clock has gone back.
func TestLaterFilesSortBehind(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1_700_000_000, 0)
	var created []string
	for _, at := range []time.Time{now, now, now.Add(-time.Hour), now.Add(time.Hour)} {
		w, err := tfevents.Create(dir, at, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		files, err := tfevents.Files(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(files[:len(files)-1], created) {
			t.Fatalf("the new file does not come last: %v after %v", files, created)
		}
		created = files
	}
}

func TestNoFolderHasNoFiles(t *testing.T) {
	files, err := tfevents.Files(filepath.Join(t.TempDir(), "none"))
	if err != nil || files != nil {
		t.Errorf("files %v, %v", files, err)
	}
}
