package video_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/video"
)

func records(payloads ...string) []byte {
	var out []byte
	for _, p := range payloads {
		out = video.AppendRecord(out, []byte(p))
	}
	return out
}

func writeFile(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "some.tfrecords")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readAll(data []byte) (payloads []string, err error) {
	r := video.NewReader(bytes.NewReader(data), "some.tfrecords")
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return payloads, nil
		}
		if err != nil {
			return payloads, err
		}
		payloads = append(payloads, string(p))
	}
}

// The bytes of a record as TensorFlow writes it; the checksums are those of
// the format's own definition over these payloads.
func TestRecordBytes(t *testing.T) {
	got := video.AppendRecord(nil, []byte("\x00"))
	if len(got) != 8+4+1+4 || binary.LittleEndian.Uint64(got) != 1 || got[12] != 0 {
		t.Errorf("record % x", got)
	}
	// crc32c of a zero byte is 527d5351; masked: rotated right by 15, plus a282ead8.
	if masked := binary.LittleEndian.Uint32(got[13:]); masked != 0x49258fd2 {
		t.Errorf("masked checksum %08x", masked)
	}
}

func TestReaderAndWriter(t *testing.T) {
	want := []string{"", "a", strings.Repeat("long", 1<<19), "z"}
	var buf bytes.Buffer
	w := video.NewWriter(&buf)
	for _, p := range want {
		if err := w.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readAll(buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d records read, %d written, or they differ", len(got), len(want))
	}
	x, err := video.OpenIndexed(writeFile(t, buf.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if x.Len() != len(want) {
		t.Fatalf("%d records, want %d", x.Len(), len(want))
	}
	for i := x.Len() - 1; i >= 0; i-- {
		if p, err := x.Record(i); err != nil || string(p) != want[i] {
			t.Errorf("record %d: %d bytes, %v", i, len(p), err)
		}
	}
}

func TestEmptyFile(t *testing.T) {
	x, err := video.OpenIndexed(writeFile(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if x.Len() != 0 {
		t.Errorf("%d records in an empty file", x.Len())
	}
	if got, err := readAll(nil); err != nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
}

func TestWriterRefusesHugeRecord(t *testing.T) {
	err := video.NewWriter(io.Discard).Write(make([]byte, video.MaxRecordBytes+1))
	if errs.KindOf(err) != errs.Invalid {
		t.Errorf("error %v, want Invalid", err)
	}
}

// Damage is found by the reader, and on opening or reading at random; the
// error names file, record and byte.
func TestReaderRefusesDamage(t *testing.T) {
	good := records("first", "second", "third")
	second := len(records("first"))
	flip := func(at int) []byte { b := slices.Clone(good); b[at] ^= 1; return b }
	huge := slices.Clone(good[:second])
	huge = binary.LittleEndian.AppendUint64(huge, 1<<40)
	huge = binary.LittleEndian.AppendUint32(huge, maskedLengthCRC(1<<40))
	for name, data := range map[string][]byte{
		"length":             flip(second),
		"length checksum":    flip(second + 9),
		"payload":            flip(second + 13),
		"payload checksum":   flip(second + 12 + len("second")),
		"cut in header":      good[:second+5],
		"cut in payload":     good[:second+14],
		"cut before the end": good[:len(records("first", "second"))-1],
		"huge length":        huge,
	} {
		t.Run(name, func(t *testing.T) {
			place := fmt.Sprintf("record 1 at byte %d", second)
			got, err := readAll(data)
			if errs.KindOf(err) != errs.Corrupt || !strings.Contains(err.Error(), "some.tfrecords: "+place) {
				t.Errorf("sequential: %v, want Corrupt at %s", err, place)
			}
			if !slices.Equal(got, []string{"first"}) {
				t.Errorf("records before the damage: %q", got)
			}
			x, err := video.OpenIndexed(writeFile(t, data))
			if err == nil {
				defer x.Close()
				_, err = x.Record(1)
			}
			if errs.KindOf(err) != errs.Corrupt || !strings.Contains(err.Error(), "some.tfrecords: "+place) {
				t.Errorf("indexed: %v, want Corrupt at %s", err, place)
			}
		})
	}
}

// maskedLengthCRC is the header checksum of a length, from a record that has it.
func maskedLengthCRC(length uint64) uint32 {
	footer := video.AppendRecord(nil, binary.LittleEndian.AppendUint64(nil, length))
	return binary.LittleEndian.Uint32(footer[len(footer)-4:])
}

func TestInvalidRecordNamesItsPlace(t *testing.T) {
	data := video.AppendRecord(nil, example(t, plainVideo()))
	second := len(data)
	data = video.AppendRecord(data, rawExample(rawFeature("id", 1, "v"), rawFeature("title", 3)))
	place := fmt.Sprintf("record 1 at byte %d", second)

	r := video.NewReader(bytes.NewReader(data), "f")
	if _, err := r.NextVideo(); err != nil {
		t.Fatal(err)
	}
	_, err := r.NextVideo()
	if errs.FieldOf(err) != "title" || !strings.Contains(err.Error(), place) {
		t.Errorf("sequential: %v", err)
	}
	x, err := video.OpenIndexed(writeFile(t, data))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if _, err = x.Video(1); errs.FieldOf(err) != "title" || !strings.Contains(err.Error(), place) {
		t.Errorf("indexed: %v", err)
	}
}

func TestIndexedConcurrently(t *testing.T) {
	var payloads []string
	for i := range 50 {
		payloads = append(payloads, strings.Repeat(fmt.Sprint(i), i*100))
	}
	x, err := video.OpenIndexed(writeFile(t, records(payloads...)))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range payloads {
				i = (i*7 + g) % len(payloads)
				if p, err := x.Record(i); err != nil || string(p) != payloads[i] {
					t.Errorf("record %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFileReplacedWhileOpen(t *testing.T) {
	path := writeFile(t, records("first", "second"))
	x, err := video.OpenIndexed(path)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := os.WriteFile(path, records("1", "other, and longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Record(0); errs.KindOf(err) != errs.Corrupt {
		t.Errorf("error %v, want Corrupt", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(records("first", "", "third"))
	f.Add(records("first")[:14])
	f.Add([]byte("not a record at all, but long enough for a header"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readAll(data)
		if err != nil && errs.KindOf(err) != errs.Corrupt {
			t.Fatalf("kind %s of %v", errs.KindOf(err), err)
		}
		if err == nil && !bytes.Equal(records(got...), data) {
			t.Fatal("read without an error, but not what a writer writes")
		}
	})
}
