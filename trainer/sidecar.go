package trainer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"videosim/shared/errs"
	"videosim/shared/video"
)

// A sidecar is what one scan of a record file has found, kept on disk: the
// usable records in order, and what was wrong with the others. It spares every
// run but the first the reading of the whole file, and every run the memory
// for the ids: they are streamed from here.
//
// It is a TFRecord file, whose checksums tell a damaged one, of payloads
// that begin with a letter:
//
//	K  the key, JSON: format, path, size and time of the file it stands for
//	B  a block of entries (appendEntry)
//	E  the end, JSON: sidecarEnd; a sidecar without it is none
//
// One that is damaged, cut short or of another file is made anew.
type sidecar struct {
	path  string // of the sidecar
	file  *video.RecordFile
	end   sidecarEnd
	fresh bool // made by this run
}

// sidecarFormat: 1, the first.
const sidecarFormat = 1

type sidecarKey struct {
	Format int    `json:"format"`
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Nanos  int64  `json:"nanos"` // of the last change, since 1970
}

// sidecarEnd sums a file up.
type sidecarEnd struct {
	Records  int         `json:"records"` // usable ones
	Widths   map[int]int `json:"widths"`  // records by the width of their frames
	Problems []tally     `json:"problems"`
	Digest   string      `json:"digest"` // of the checksums of the usable records
}

// maxWidths bounds sidecarEnd.Widths; a sound file has one.
const maxWidths = 64

// entry is a usable record of a file.
type entry struct {
	record           int
	span             video.Span
	frames, frameDim int
	title            bool
	id               []byte // valid until the next entry
}

// openSidecar finds the sidecar of a record file in folder, or scans the file
// and writes it. With strict the first problem ends the scan, and nothing is
// written.
func openSidecar(ctx context.Context, folder string, file *video.RecordFile, strict bool) (*sidecar, error) {
	key, err := keyOf(file.Path())
	if err != nil {
		return nil, err
	}
	name := sha256.Sum256([]byte(key.Path))
	s := &sidecar{path: filepath.Join(folder, hex.EncodeToString(name[:8])+".sidecar"), file: file}
	if s.end, err = s.check(key); err == nil {
		return s, nil
	}
	err = writeFile(s.path, func(w io.Writer) error {
		s.end, err = scanInto(ctx, w, key, file, strict)
		return err
	})
	s.fresh = true
	return s, err
}

func keyOf(path string) (sidecarKey, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return sidecarKey{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return sidecarKey{}, err
	}
	return sidecarKey{sidecarFormat, absolute, info.Size(), info.ModTime().UnixNano()}, nil
}

// check reads the sidecar through and returns its end if it is whole and stands
// for the file as it is now.
func (s *sidecar) check(key sidecarKey) (end sidecarEnd, err error) {
	blocks := 0
	err = s.payloads(func(kind byte, body []byte) error {
		var found sidecarKey
		switch {
		case kind == 'K' && blocks == 0:
			if err := json.Unmarshal(body, &found); err != nil || found != key {
				return errStale
			}
		case blocks == 0 || end.Digest != "":
			return errStale
		case kind == 'E':
			if err := json.Unmarshal(body, &end); err != nil {
				return errStale
			}
		}
		blocks++
		return nil
	})
	if err == nil && end.Digest == "" {
		err = errStale
	}
	return end, err
}

var errStale = errs.New(errs.Corrupt, "not the sidecar of the file as it is")

func (s *sidecar) payloads(use func(kind byte, body []byte) error) error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := video.NewReader(f, s.path)
	for {
		payload, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(payload) == 0 {
			return errStale
		}
		if err := use(payload[0], payload[1:]); err != nil {
			return err
		}
	}
}

// entries calls use for every usable record of the file, in order.
func (s *sidecar) entries(ctx context.Context, use func(entry) error) error {
	return s.payloads(func(kind byte, body []byte) error {
		if kind != 'B' {
			return ctx.Err()
		}
		for len(body) > 0 {
			e, rest, ok := parseEntry(body)
			if !ok {
				return fmt.Errorf("%s: %w", s.path, errStale)
			}
			if err := use(e); err != nil {
				return err
			}
			body = rest
		}
		return ctx.Err()
	})
}

// appendEntry writes e: record, span, frames and their width as varints, a byte
// that is 1 with a title, the id's length and the id.
func appendEntry(b []byte, e entry) []byte {
	for _, v := range []uint64{uint64(e.record), uint64(e.span), uint64(e.frames), uint64(e.frameDim)} {
		b = binary.AppendUvarint(b, v)
	}
	title := byte(0)
	if e.title {
		title = 1
	}
	return append(append(b, title, byte(len(e.id))), e.id...) // an id has at most 64 bytes
}

func parseEntry(b []byte) (e entry, rest []byte, ok bool) {
	var v [4]uint64
	for i := range v {
		n := 0
		if v[i], n = binary.Uvarint(b); n <= 0 {
			return e, nil, false
		}
		b = b[n:]
	}
	if len(b) < 2 || len(b) < 2+int(b[1]) {
		return e, nil, false
	}
	end := 2 + int(b[1])
	return entry{int(v[0]), video.Span(v[1]), int(v[2]), int(v[3]), b[0] == 1, b[2:end]}, b[end:], true
}

// scanInto scans a file and writes its sidecar.
func scanInto(ctx context.Context, out io.Writer, key sidecarKey, file *video.RecordFile, strict bool) (sidecarEnd, error) {
	buffered := bufio.NewWriterSize(out, 256<<10)
	w := video.NewWriter(buffered)
	end := sidecarEnd{Widths: map[int]int{}}
	if err := writeJSON(w, 'K', key); err != nil {
		return end, err
	}
	wrong := problems{strict: strict}
	digest := sha256.New()
	block := []byte{'B'}
	err := file.Scan(ctx, func(s video.Scanned) error {
		if s.Err != nil {
			return wrong.note(recordProblem(s))
		}
		o := s.Outline
		end.Records++
		if o.Frames > 0 && (end.Widths[o.FrameDim] > 0 || len(end.Widths) < maxWidths) {
			end.Widths[o.FrameDim]++
		}
		digest.Write(binary.LittleEndian.AppendUint32(nil, s.CRC))
		block = appendEntry(block, entry{s.Record, s.Span, o.Frames, o.FrameDim, o.Title, []byte(o.ID)})
		if len(block) < 64<<10 {
			return nil
		}
		err := w.Write(block)
		block = block[:1]
		return err
	})
	if err == nil && len(block) > 1 {
		err = w.Write(block)
	}
	if err != nil {
		return end, err
	}
	end.Problems = wrong.tallies
	end.Digest = hex.EncodeToString(digest.Sum(nil))
	return end, errors.Join(writeJSON(w, 'E', end), buffered.Flush())
}

func writeJSON(w *video.Writer, kind byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.Write(append([]byte{kind}, body...))
}
