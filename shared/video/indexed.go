package video

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// Indexed is a TFRecord file read by record number. Its index of offsets is
// made anew on every opening, by reading the headers only (a million records
// take about a second), so no index file can go stale. Safe for concurrent use.
type Indexed struct {
	file    *os.File
	offsets []int64 // of each record, and the end of the last
}

// OpenIndexed opens a TFRecord file. A file that is cut short or whose lengths
// are damaged is Corrupt; payloads are checked when they are read.
func OpenIndexed(path string) (*Indexed, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	offsets, err := scanOffsets(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Indexed{file: f, offsets: offsets}, nil
}

func scanOffsets(f *os.File) ([]int64, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// A buffer about as large as a record: small records are read in one go, of
	// large ones little more than the header.
	r := bufio.NewReaderSize(f, 4<<10)
	at := position{file: f.Name()}
	offsets := []int64{0}
	for at.offset < info.Size() {
		var header [headerBytes]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return nil, at.short(partHeader, err)
		}
		length, err := at.payloadLength(header[:])
		if err != nil {
			return nil, err
		}
		end := at.offset + int64(headerBytes+length+footerBytes)
		if end > info.Size() {
			return nil, at.corrupt(partPayload, fmt.Sprintf("%d bytes", length), fmt.Sprintf("the end of the file after %d", info.Size()-at.offset-headerBytes))
		}
		if err := skip(f, r, end-at.offset-headerBytes, end); err != nil {
			return nil, at.wrap(err)
		}
		at.offset = end
		at.record++
		offsets = append(offsets, end)
	}
	return offsets, nil
}

// skip moves past n bytes, to offset end: inside the buffer where it reaches,
// by a seek beyond it.
func skip(f *os.File, r *bufio.Reader, n, end int64) error {
	if n <= int64(r.Buffered()) {
		_, err := r.Discard(int(n))
		return err
	}
	if _, err := f.Seek(end, io.SeekStart); err != nil {
		return err
	}
	r.Reset(f)
	return nil
}

// Len is the number of records.
func (x *Indexed) Len() int { return len(x.offsets) - 1 }

// Path is the file's name, as it was opened.
func (x *Indexed) Path() string { return x.file.Name() }

// Offset is where record i begins.
func (x *Indexed) Offset(i int) int64 { return x.offsets[i] }

// Close closes the file.
func (x *Indexed) Close() error { return x.file.Close() }

// Record returns a copy of the payload of record i, in 0…Len()-1.
func (x *Indexed) Record(i int) ([]byte, error) {
	at := position{file: x.file.Name(), record: i, offset: x.offsets[i]}
	whole := make([]byte, x.offsets[i+1]-x.offsets[i])
	if _, err := x.file.ReadAt(whole, x.offsets[i]); err != nil {
		return nil, at.short(partPayload, err)
	}
	// The header was checked on opening; again, in case the file was replaced.
	length, err := at.payloadLength(whole[:headerBytes])
	if err != nil {
		return nil, err
	}
	if length != len(whole)-headerBytes-footerBytes {
		return nil, at.corrupt(partLength, fmt.Sprintf("%d as when the file was opened", len(whole)-headerBytes-footerBytes), fmt.Sprint(length))
	}
	return at.checkBody(whole[headerBytes:])
}

// Video parses record i.
func (x *Indexed) Video(i int) (Video, error) {
	payload, err := x.Record(i)
	if err != nil {
		return Video{}, err
	}
	v, err := ParseExample(payload)
	if err != nil {
		return Video{}, position{x.file.Name(), i, x.offsets[i]}.wrap(err)
	}
	return v, nil
}
