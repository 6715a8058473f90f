// Package tfevents writes the event files that TensorBoard reads: TFRecords of
// tensorflow.Event messages (tensorflow/core/util/event.proto), of which it
// encodes what scalars need.
//
// One Writer is one file. The files of one folder are one run to TensorBoard,
// read in the order of their names. A run that went back to an earlier step
// goes on in a new file that begins with that step: TensorBoard then forgets
// what the older files say from that step on.
package tfevents

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"videosim/shared/video"
)

// Prefix begins the name of every event file; TensorBoard looks for it.
const Prefix = "events.out.tfevents."

// version is the format that every file names in its first record.
const version = "brain.Event:2"

// Field numbers of the messages.
const (
	eventWallTime   = 1 // double, seconds since 1970
	eventStep       = 2
	eventVersion    = 3
	eventSummary    = 5
	eventSessionLog = 7

	summaryValue = 1

	valueTag    = 1
	valueSimple = 2 // float

	sessionStatus = 1
	sessionStart  = 1 // an enum's value
)

// Scalar is one number of a step.
type Scalar struct {
	Tag   string
	Value float64 // stored as float32
}

// Writer appends to one event file. It is not safe for concurrent use.
type Writer struct {
	file    *os.File
	records *video.Writer
	buf     []byte
}

// Create begins a new file in dir, which it makes. Whatever the folder's older
// files say about step first and later ones is void from here on.
func Create(dir string, now time.Time, first int64) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of event files: %w", err)
	}
	name, err := freshName(dir, now)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create event file: %w", err)
	}
	w := &Writer{file: f, records: video.NewWriter(f)}
	started := protowire.AppendTag(nil, sessionStatus, protowire.VarintType)
	started = protowire.AppendVarint(started, sessionStart)
	err = errors.Join(w.write(now, 0, eventVersion, []byte(version)), w.write(now, first, eventSessionLog, started))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// freshName returns a name that sorts behind those in dir: seconds since 1970
// in ten digits, or one more than the last file's within the same second.
func freshName(dir string, now time.Time) (string, error) {
	host, err := os.Hostname()
	if err != nil || strings.ContainsAny(host, "/\x00") {
		host = "localhost"
	}
	there, err := Files(dir)
	if err != nil {
		return "", err
	}
	second := now.Unix()
	for _, path := range there {
		digits, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), Prefix), ".")
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			second = max(second, n+1)
		}
	}
	return fmt.Sprintf("%s%010d.%s", Prefix, second, host), nil
}

// Files lists the event files of dir in TensorBoard's order; none where there
// is no such folder.
func Files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list event files: %w", err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), Prefix) && !e.IsDir() {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(out)
	return out, nil
}

// Write appends the scalars of one step. A reader sees them at once.
func (w *Writer) Write(at time.Time, step int64, scalars []Scalar) error {
	var summary []byte
	for _, s := range scalars {
		var value []byte
		value = protowire.AppendTag(value, valueTag, protowire.BytesType)
		value = protowire.AppendString(value, s.Tag)
		value = protowire.AppendTag(value, valueSimple, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(s.Value)))
		summary = protowire.AppendTag(summary, summaryValue, protowire.BytesType)
		summary = protowire.AppendBytes(summary, value)
	}
	return w.write(at, step, eventSummary, summary)
}

// write appends an event whose field number what is the message in body.
func (w *Writer) write(at time.Time, step int64, what protowire.Number, body []byte) error {
	b := protowire.AppendTag(w.buf[:0], eventWallTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(float64(at.UnixNano())/1e9))
	b = protowire.AppendTag(b, eventStep, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(step))
	b = protowire.AppendTag(b, what, protowire.BytesType)
	b = protowire.AppendBytes(b, body)
	w.buf = b
	if err := w.records.Write(b); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return nil
}

// Sync returns once everything written is on disk.
func (w *Writer) Sync() error { return w.file.Sync() }

// Close closes the file.
func (w *Writer) Close() error { return w.file.Close() }
