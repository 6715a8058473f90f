package video

import (
	"fmt"
	"os"
	"sync"

	"videosim/shared/errs"
)

// Span is where a record lies in its file, in one word, so that a million of
// them take 8 MB: the offset of its first byte in the upper 40 bits (a file may
// have 1 TiB), and in the lower 24 bits its size in steps of 256 bytes, rounded
// up. The record's own header tells the size exactly.
type Span uint64

const (
	spanSizeBits = 24
	spanStep     = 256
	// MaxFileBytes is the largest file that a RecordFile reads.
	MaxFileBytes = 1 << (64 - spanSizeBits)
)

func newSpan(offset, size int64) Span {
	return Span(offset)<<spanSizeBits | Span((size+spanStep-1)/spanStep)
}

// Offset is the byte at which the record begins.
func (s Span) Offset() int64 { return int64(s >> spanSizeBits) }

// room is at least the record's size.
func (s Span) room() int { return int(s&(1<<spanSizeBits-1)) * spanStep }

// RecordFile is a TFRecord file that may be damaged. It keeps no index: Scan
// finds the records, and a Span finds one of them again. Safe for concurrent
// use.
type RecordFile struct {
	file *os.File
	size int64

	mu   sync.Mutex
	free [][]byte // buffers for Video, as many as ever ran at once
}

// OpenRecords opens a file without reading it.
func OpenRecords(path string) (*RecordFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() >= MaxFileBytes {
		err = errs.New(errs.Invalid, "%s: expected less than 1 TiB, found %d bytes: split the file", path, info.Size())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &RecordFile{file: f, size: info.Size()}, nil
}

// Path is the file's name, as it was opened.
func (x *RecordFile) Path() string { return x.file.Name() }

// Close closes the file.
func (x *RecordFile) Close() error { return x.file.Close() }

// Video reads the record at s, which Scan has returned for this file.
func (x *RecordFile) Video(s Span) (Video, error) {
	buf := x.take(s.room())
	defer x.give(buf)
	at := position{file: x.file.Name(), record: -1, offset: s.Offset()}
	n, err := x.file.ReadAt(buf, s.Offset()) // may reach past the file's end
	if n < headerBytes+footerBytes {
		return Video{}, at.short(partHeader, err)
	}
	length, err := at.payloadLength(buf)
	if err != nil {
		return Video{}, err
	}
	if end := headerBytes + length + footerBytes; end > n {
		return Video{}, at.corrupt(partLength, fmt.Sprintf("at most %d, as when the file was scanned", n-headerBytes-footerBytes), fmt.Sprint(length))
	}
	payload, err := at.checkBody(buf[headerBytes : headerBytes+length+footerBytes])
	if err != nil {
		return Video{}, err
	}
	v, err := ParseExample(payload)
	if err != nil {
		return Video{}, at.wrap(err)
	}
	return v, nil
}

func (x *RecordFile) take(size int) []byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n := len(x.free); n > 0 {
		buf := x.free[n-1]
		x.free = x.free[:n-1]
		if cap(buf) >= size {
			return buf[:size]
		}
	}
	return make([]byte, size)
}

func (x *RecordFile) give(buf []byte) {
	const keep = 1 << 20 // a rare giant is not kept
	if cap(buf) > keep {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.free = append(x.free, buf)
}
