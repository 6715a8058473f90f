package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"videosim/shared/errs"
)

// outlet sends an answer while its request still comes in. A client that
// reads as it sends holds it up as it likes: that is backpressure. One that
// sends all it has before it reads, as many do, would wait for us while we
// wait for it; after outletPatience what it leaves goes to a file without a
// name, and from there to the client once all has come in.
type outlet struct {
	c       *gin.Context
	silence time.Duration // longest wait for the client to take a chunk
	queue   chan []byte   // to the sender; nil before the first write
	sent    chan error    // the sender's end
	spill   *os.File      // nil until the client has kept us waiting
	spilled int64
	bytes   prometheus.Counter // spilled by all
}

const (
	outletQueue    = 16              // chunks, about 200 KB each
	outletPatience = 2 * time.Second // wait for room before the file is used
	outletDisk     = 1 << 30         // most bytes in the file: 20,000,000 lines
)

func newOutlet(c *gin.Context, silence time.Duration, spilled prometheus.Counter) *outlet {
	return &outlet{c: c, silence: silence, bytes: spilled}
}

// started says whether any of the answer may be out.
func (o *outlet) started() bool { return o.queue != nil }

// write takes a copy of p.
func (o *outlet) write(p []byte) error {
	if o.queue == nil {
		// HTTP/1 would otherwise end the request's body at the answer's first byte.
		if err := http.NewResponseController(o.c.Writer).EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return errs.New(errs.Internal, "answer while reading: %w", err)
		}
		o.queue, o.sent = make(chan []byte, outletQueue), make(chan error, 1)
		go o.send(o.queue)
	}
	if o.spill != nil {
		return o.keep(p)
	}
	patience := time.NewTimer(outletPatience)
	defer patience.Stop()
	select {
	case o.queue <- bytes.Clone(p):
		return nil
	case err := <-o.sent:
		o.sent <- err // for drain
		return err
	case <-patience.C:
		return o.keep(p)
	}
}

// keep appends p to the file.
func (o *outlet) keep(p []byte) error {
	if o.spill == nil {
		file, err := os.CreateTemp("", "videosim-pairs-*")
		if err != nil {
			return errs.New(errs.Unavailable, "keep an answer that is not read: %w", err)
		}
		o.spill = file
		if err := os.Remove(file.Name()); err != nil { // the open file stays
			return errs.New(errs.Unavailable, "keep an answer that is not read: %w", err)
		}
	}
	if o.spilled += int64(len(p)); o.spilled > outletDisk {
		return errs.New(errs.Invalid, "the answer is not read: expected a client that reads while it sends, beyond %d bytes", outletDisk)
	}
	o.bytes.Add(float64(len(p)))
	if _, err := o.spill.Write(p); err != nil {
		return errs.New(errs.Unavailable, "keep an answer that is not read: %w", err)
	}
	return nil
}

// send writes what is queued until the queue is closed.
func (o *outlet) send(queue <-chan []byte) {
	var failed error
	rc := http.NewResponseController(o.c.Writer)
	for p := range queue {
		if failed != nil {
			continue // until the reading side has noticed
		}
		_ = rc.SetWriteDeadline(time.Now().Add(o.silence)) // supported where it matters: on connections
		if _, err := o.c.Writer.Write(p); err != nil {
			failed = errs.New(errs.Unavailable, "send the answer: %w", err)
			o.sent <- failed
			continue
		}
		o.c.Writer.Flush()
	}
	if failed == nil {
		o.sent <- nil
	}
}

// drain waits until everything has been sent.
func (o *outlet) drain() error {
	if o.queue == nil {
		return nil
	}
	close(o.queue)
	o.queue = nil
	if err := <-o.sent; err != nil {
		return err
	}
	if o.spill == nil {
		return nil
	}
	if _, err := o.spill.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the kept answer: %w", err)
	}
	chunk := make([]byte, 256<<10)
	for {
		n, err := o.spill.Read(chunk)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the kept answer: %w", err)
		}
		_ = http.NewResponseController(o.c.Writer).SetWriteDeadline(time.Now().Add(o.silence))
		if _, err := o.c.Writer.Write(chunk[:n]); err != nil {
			return errs.New(errs.Unavailable, "send the answer: %w", err)
		}
	}
}

// close ends the sender at once, if it still runs, and frees the file.
func (o *outlet) close() {
	if o.queue != nil {
		_ = http.NewResponseController(o.c.Writer).SetWriteDeadline(time.Now())
		close(o.queue)
		<-o.sent
		o.queue = nil
	}
	if o.spill != nil {
		_ = o.spill.Close() // it has no name and nobody needs it
	}
}
