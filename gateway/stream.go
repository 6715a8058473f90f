package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"videosim/gateway/query"
	"videosim/shared/errs"
	"videosim/shared/eval"
)

// streamChunk is how many pairs are scored with one fetch: their embeddings
// take 8 MB at most, and a chunk lasts a few milliseconds.
const streamChunk = 4096

// longestStream bounds a stream whose caller sets no deadline: at 20,000 pairs
// a second, 1.7 billion of them.
const longestStream = 24 * time.Hour

// streamMissing bounds the missing ids that a stream names at its end; its
// lines show every one.
const streamMissing = 100

// Names of the trailers behind a stream.
const (
	trailerPairs      = "Videosim-Pairs"       // lines scored
	trailerMissing    = "Videosim-Missing"     // lines without a score
	trailerMissingIDs = "Videosim-Missing-Ids" // the first 100 missing ids, as JSON strings separated by spaces
	headerModel       = "Videosim-Model"
	headerIndexed     = "Videosim-Indexed-Sequence"
)

// peeked is a body of which some is buffered already.
type peeked struct {
	io.Reader
	io.Closer
}

// streamPairs answers lines "id1 TAB id2 [TAB label]" with lines "id1 TAB id2
// TAB number": the cosine, or the score with column=score, empty where an id is
// missing. It keeps one chunk of lines and their embeddings, whatever the
// stream's length.
func (g *server) streamPairs(c *gin.Context, body *bufio.Reader) error {
	p := readParams(c, "column", "min_sequence", "wait_ms", "model")
	fresh := p.freshness()
	column := p.text("column")
	if p.values.Has("column") && column != "cosine" && column != "score" {
		p.fault("column", "expected cosine or score, found %q", column)
	}
	if p.err != nil {
		return p.err
	}
	timeout, err := askedTimeout(c, longestStream)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), timeout)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	env, err := g.begin(c, fresh)
	if err != nil {
		return err
	}
	s := pairStream{server: g, c: c, score: column == "score", out: newOutlet(c, g.cfg.StreamTimeout, g.metrics.spilled)}
	defer s.out.close()
	s.in = eval.NewPairReader(&patientReader{c: c, g: g, body: body}, eval.PairLimits{})
	h := c.Writer.Header()
	h.Set("Content-Type", "text/tab-separated-values; charset=utf-8")
	h.Set(headerModel, env.Model)
	h.Set(headerIndexed, strconv.FormatUint(env.IndexedSequence, 10))
	h.Set("Trailer", strings.Join([]string{trailerPairs, trailerMissing, trailerMissingIDs}, ", "))
	return s.run()
}

// patientReader lets a stream last as long as it keeps coming.
type patientReader struct {
	c    *gin.Context
	g    *server
	body io.Reader
}

func (r *patientReader) Read(p []byte) (int, error) {
	extend(r.c, r.g.cfg.StreamTimeout)
	return bodyReader{r.body}.Read(p)
}

// bodyReader says whose fault it is when a body ends early.
type bodyReader struct{ body io.Reader }

func (r bodyReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	if err != nil && err != io.EOF {
		err = errs.New(errs.Invalid, "read the body: %w", err)
	}
	return n, err
}

// pairStream is one stream at work.
type pairStream struct {
	*server
	c     *gin.Context
	in    *eval.PairReader
	out   *outlet
	score bool

	scored, unscored int
	missing          []string
	known            map[string]bool // of missing
}

func (s *pairStream) run() error {
	pairs := make([]eval.Pair, 0, streamChunk)
	scores := make([]query.PairScore, streamChunk)
	var lines bytes.Buffer
	for {
		var readErr error
		pairs, readErr = s.read(pairs[:0])
		if readErr != nil && readErr != io.EOF {
			return s.broken(readErr)
		}
		if err := s.chunk(pairs, scores[:len(pairs)]); err != nil {
			return s.broken(err)
		}
		lines.Reset()
		for i, p := range pairs {
			s.line(&lines, p, scores[i])
		}
		if err := s.out.write(lines.Bytes()); err != nil {
			return s.broken(err)
		}
		if readErr == io.EOF {
			return s.finish()
		}
	}
}

// read fills a chunk. At the end of the body it returns io.EOF with the rest.
func (s *pairStream) read(pairs []eval.Pair) ([]eval.Pair, error) {
	for len(pairs) < streamChunk {
		p, err := s.in.Next()
		if err != nil {
			return pairs, err
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

func (s *pairStream) chunk(pairs []eval.Pair, scores []query.PairScore) error {
	ctx, cancel := context.WithTimeout(s.c.Request.Context(), s.cfg.Timeout)
	defer cancel()
	s.metrics.pairs.Add(float64(len(pairs)))
	return s.engine.ScoreIDs(ctx, pairs, scores, s.note)
}

func (s *pairStream) note(id string) {
	if len(s.missing) == streamMissing || s.known[id] {
		return
	}
	if s.known == nil {
		s.known = map[string]bool{}
	}
	s.known[id] = true
	s.missing = append(s.missing, strconv.QuoteToASCII(id))
}

func (s *pairStream) line(b *bytes.Buffer, p eval.Pair, score query.PairScore) {
	b.WriteString(p.A)
	b.WriteByte('\t')
	b.WriteString(p.B)
	b.WriteByte('\t')
	if score.Known {
		s.scored++
		number := score.Cosine
		if s.score {
			number = score.Score
		}
		b.Write(strconv.AppendFloat(b.AvailableBuffer(), number, 'f', 9, 64))
	} else {
		s.unscored++
	}
	b.WriteByte('\n')
}

func (s *pairStream) finish() error {
	if err := s.out.drain(); err != nil {
		return err
	}
	h := s.c.Writer.Header()
	h.Set(trailerPairs, strconv.Itoa(s.scored))
	h.Set(trailerMissing, strconv.Itoa(s.unscored))
	h.Set(trailerMissingIDs, strings.Join(s.missing, " "))
	return nil
}

// broken ends a stream that fails. Before its first chunk is out it is an
// ordinary problem; after, a last line says why and the connection breaks, so
// that nobody takes half an answer for a whole one.
func (s *pairStream) broken(err error) error {
	if !s.out.started() {
		s.c.Writer.Header().Del("Trailer")
		return err
	}
	p := newProblem(err, requestID(s.c))
	last := fmt.Sprintf("#error\t%s\t%s\n", p.Type, strings.Map(printable, p.Detail))
	return errors.Join(err, s.out.write([]byte(last)), s.out.drain())
}

func printable(r rune) rune {
	if r < ' ' {
		return ' '
	}
	return r
}
