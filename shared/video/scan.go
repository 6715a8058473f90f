package video

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"videosim/shared/errs"
)

// Scanned is one record of a file as Scan found it, or a damaged stretch in
// place of one or more.
type Scanned struct {
	Record  int   // counted from 0; a damaged stretch counts as one
	Offset  int64 // of the first byte
	Span    Span
	Size    int64  // in bytes, framing included
	CRC     uint32 // the payload's, as the file has it
	Outline Outline
	// Err is a *RecordError that says why there is no usable video here, and
	// then only Record, Offset and Lost are set.
	Err  error
	Lost int64 // bytes passed over up to the next record
}

// Scan reads the file once from its beginning, checks every checksum and every
// video, and calls visit for each in order, the damaged ones too.
//
// After a record whose payload is damaged the next one is read as usual. Where
// the framing itself is damaged, Scan searches for the next header whose
// checksum is right: the checksum of the length is 32 bits and the length at
// most MaxRecordBytes, so bytes that only look like a header are one in 2⁷⁰.
//
// It ends with the first error of visit, with ctx, or where the file cannot be
// read.
func (x *RecordFile) Scan(ctx context.Context, visit func(Scanned) error) error {
	s := scanner{ctx: ctx, file: x.file, size: x.size}
	for record := 0; s.offset < s.size; record++ {
		found, err := s.next(position{x.file.Name(), record, s.offset})
		if err != nil {
			return err
		}
		s.offset += found.Lost
		if found.Err == nil {
			s.offset += found.Size
		}
		if err := visit(found); err != nil {
			return err
		}
	}
	return nil
}

// scanner reads a file through a window.
type scanner struct {
	ctx    context.Context
	file   *os.File
	size   int64 // of the file
	offset int64 // of the next record

	window []byte
	from   int64 // the window's place in the file
}

// windowBytes is what is read at once: many records, a small part of memory.
const windowBytes = 1 << 20

// bytes returns n bytes of the file at offset, valid until the next call; the
// file has them.
func (s *scanner) bytes(offset, n int64) ([]byte, error) {
	if offset < s.from || offset+n > s.from+int64(len(s.window)) {
		if err := s.ctx.Err(); err != nil {
			return nil, err
		}
		want := min(max(n, windowBytes), s.size-offset)
		if int64(cap(s.window)) < want || cap(s.window) > 2*windowBytes && want <= windowBytes {
			s.window = make([]byte, want)
		}
		s.window, s.from = s.window[:want], offset
		if _, err := s.file.ReadAt(s.window, offset); err != nil {
			s.window = s.window[:0]
			if errors.Is(err, io.EOF) {
				return nil, errs.New(errs.Corrupt, "%s: the file became shorter while it was read", s.file.Name())
			}
			return nil, err
		}
	}
	return s.window[offset-s.from:][:n], nil
}

// next reads what lies at the scanner's offset.
func (s *scanner) next(at position) (Scanned, error) {
	found := Scanned{Record: at.record, Offset: at.offset}
	rest := s.size - at.offset
	if rest < headerBytes+footerBytes {
		found.Err = at.corrupt(partHeader, fmt.Sprintf("%d bytes", headerBytes+footerBytes), fmt.Sprintf("the end of the file after %d", rest))
		found.Lost = rest
		return found, nil
	}
	header, err := s.bytes(at.offset, headerBytes)
	if err != nil {
		return found, err
	}
	length, err := at.payloadLength(header)
	if err != nil {
		return s.damaged(found, err, at.offset+1)
	}
	whole := int64(headerBytes + length + footerBytes)
	if whole > rest {
		err := at.corrupt(partPayload, fmt.Sprintf("%d bytes", length), fmt.Sprintf("the end of the file after %d", rest-headerBytes))
		return s.damaged(found, err, at.offset+headerBytes)
	}
	record, err := s.bytes(at.offset, whole)
	if err != nil {
		return found, err
	}
	payload, err := at.checkBody(record[headerBytes:])
	if err != nil {
		// Where the framing goes on, only this record is lost. Where it does not,
		// bytes are missing or too many, and the next record begins earlier or later.
		if end := at.offset + whole; s.headerAt(end) {
			found.Err, found.Lost = err, whole
			return found, nil
		}
		return s.damaged(found, err, at.offset+headerBytes)
	}
	found.Span, found.Size, found.CRC = newSpan(at.offset, whole), whole, binary.LittleEndian.Uint32(record[whole-footerBytes:])
	if found.Outline, err = OutlineExample(payload); err != nil {
		return Scanned{Record: at.record, Offset: at.offset, Err: at.wrap(err), Lost: whole}, nil
	}
	return found, nil
}

// damaged searches for the next record from offset from on.
func (s *scanner) damaged(found Scanned, why error, from int64) (Scanned, error) {
	for ; from+headerBytes+footerBytes <= s.size; from++ {
		header, err := s.bytes(from, headerBytes)
		if err != nil {
			return found, err
		}
		if validHeader(header) {
			break
		}
	}
	if from+headerBytes+footerBytes > s.size {
		from = s.size
	}
	found.Err, found.Lost = why, from-found.Offset
	return found, nil
}

// headerAt reports whether a record may begin at offset: a valid header does,
// and so does the end of the file.
func (s *scanner) headerAt(offset int64) bool {
	if offset+headerBytes > s.size {
		return offset == s.size
	}
	header, err := s.bytes(offset, headerBytes)
	return err == nil && validHeader(header)
}

func validHeader(header []byte) bool {
	return binary.LittleEndian.Uint64(header) <= MaxRecordBytes && binary.LittleEndian.Uint32(header[8:]) == maskedCRC(header[:8])
}
