package video

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"videosim/shared/errs"
)

// A TFRecord is: u64 length, u32 masked crc32c of these 8 bytes, the payload,
// u32 masked crc32c of the payload; all little-endian, nothing between records.
const (
	headerBytes = 12
	footerBytes = 4
	// MaxRecordBytes bounds one payload. The largest video of the challenge has
	// about 0.1 MB; a length beyond this is a damaged or foreign file.
	MaxRecordBytes = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is the checksum as TFRecord stores it: masked, so that the crc of
// data that contains its own crc stays useful.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// RecordError is an error about one record of a file.
type RecordError struct {
	File   string
	Record int   // counted from 0; -1 where it is not known
	Offset int64 // of the record's first byte
	Err    error
}

func (e *RecordError) Error() string {
	if e.Record < 0 {
		return fmt.Sprintf("%s: record at byte %d: %v", e.File, e.Offset, e.Err)
	}
	return fmt.Sprintf("%s: record %d at byte %d: %v", e.File, e.Record, e.Offset, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }

// position is where a record lies, for error messages.
type position struct {
	file   string
	record int   // counted from 0
	offset int64 // of the record's first byte
}

func (p position) wrap(err error) error {
	return &RecordError{File: p.file, Record: p.record, Offset: p.offset, Err: err}
}

// corrupt is an error about a part of the framing.
func (p position) corrupt(part, expected, found string) error {
	return p.wrap(errs.Unlike(errs.Corrupt, part, expected, found))
}

// Parts of a record's framing, as errors name them.
const (
	partHeader  = "record header"
	partLength  = "record length"
	partPayload = "record payload"
)

// short explains a read that ended early, and passes other failures on.
func (p position) short(part string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return p.corrupt(part, "all its bytes", "the end of the file")
	}
	return p.wrap(fmt.Errorf("read the %s: %w", part, err))
}

// payloadLength checks a record's header and returns the length it announces.
func (p position) payloadLength(header []byte) (int, error) {
	length := binary.LittleEndian.Uint64(header)
	if found, want := binary.LittleEndian.Uint32(header[8:]), maskedCRC(header[:8]); found != want {
		return 0, p.corrupt(partLength, fmt.Sprintf("checksum %08x", want), fmt.Sprintf("%08x: not a TFRecord file, or damaged", found))
	}
	if length > MaxRecordBytes {
		return 0, p.corrupt(partLength, fmt.Sprintf("at most %d bytes", MaxRecordBytes), fmt.Sprint(length))
	}
	return int(length), nil
}

// checkBody checks payload and footer, read together, and returns the payload.
func (p position) checkBody(body []byte) ([]byte, error) {
	payload, footer := body[:len(body)-footerBytes], body[len(body)-footerBytes:]
	if found, want := binary.LittleEndian.Uint32(footer), maskedCRC(payload); found != want {
		return nil, p.corrupt(partPayload, fmt.Sprintf("checksum %08x", want), fmt.Sprintf("%08x", found))
	}
	return payload, nil
}

// Reader reads records one after the other.
type Reader struct {
	r    *bufio.Reader
	next position
	body []byte
}

// NewReader reads records from r; file names it in errors.
func NewReader(r io.Reader, file string) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 256<<10), next: position{file: file}}
}

// Next returns the next payload, valid until the call after it, or io.EOF
// after the last. Any other error is Corrupt, or the underlying reader's.
func (r *Reader) Next() ([]byte, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r.r, header[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, r.next.short(partHeader, err)
	}
	length, err := r.next.payloadLength(header[:])
	if err != nil {
		return nil, err
	}
	if r.body, err = readBody(r.r, r.body[:0], length+footerBytes); err != nil {
		return nil, r.next.short(partPayload, err)
	}
	payload, err := r.next.checkBody(r.body)
	if err != nil {
		return nil, err
	}
	r.next.record++
	r.next.offset += int64(headerBytes + len(r.body))
	return payload, nil
}

// readBody reads n bytes into buf. It grows with what arrives and not with
// what the header promised, so a short file costs no large allocation.
func readBody(r io.Reader, buf []byte, n int) ([]byte, error) {
	const step = 1 << 20
	for len(buf) < n {
		from := len(buf)
		part := min(n-from, step)
		buf = append(buf, make([]byte, part)...)
		if _, err := io.ReadFull(r, buf[from:]); err != nil {
			return buf[:0], io.ErrUnexpectedEOF
		}
	}
	return buf, nil
}

// NextVideo parses the next record; the video shares no memory with the Reader.
func (r *Reader) NextVideo() (Video, error) {
	at := r.next
	payload, err := r.Next()
	if err != nil {
		return Video{}, err
	}
	v, err := ParseExample(payload)
	if err != nil {
		return Video{}, at.wrap(err)
	}
	return v, nil
}

// Writer writes records.
type Writer struct {
	w   io.Writer
	buf []byte
}

// NewWriter writes records to w, which the caller buffers and closes.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write appends one record.
func (w *Writer) Write(payload []byte) error {
	if len(payload) > MaxRecordBytes {
		return errs.New(errs.Invalid, "record of %d bytes, at most %d are accepted", len(payload), MaxRecordBytes)
	}
	w.buf = AppendRecord(w.buf[:0], payload)
	_, err := w.w.Write(w.buf)
	return err
}

// AppendRecord appends payload, framed, to dst.
func AppendRecord(dst, payload []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(payload)))
	dst = binary.LittleEndian.AppendUint32(dst, maskedCRC(dst[start:]))
	dst = append(dst, payload...)
	return binary.LittleEndian.AppendUint32(dst, maskedCRC(payload))
}
