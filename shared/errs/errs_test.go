package errs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"videosim/shared/errs"
)

// TestTable is the table once more, so that a change of it is a decision.
func TestTable(t *testing.T) {
	for kind, want := range map[errs.Kind]errs.Policy{
		errs.Internal:    {Name: "internal", HTTP: http.StatusInternalServerError, Ack: errs.NakUntilLimit, Retry: true},
		errs.Invalid:     {Name: "invalid", HTTP: http.StatusBadRequest, Ack: errs.DeadLetter, Retry: false},
		errs.NotFound:    {Name: "not-found", HTTP: http.StatusNotFound, Ack: errs.DeadLetter, Retry: false},
		errs.Overloaded:  {Name: "overloaded", HTTP: http.StatusTooManyRequests, Ack: errs.NakWithDelay, Retry: true},
		errs.Unavailable: {Name: "unavailable", HTTP: http.StatusServiceUnavailable, Ack: errs.NakWithDelay, Retry: true},
		errs.Corrupt:     {Name: "corrupt", HTTP: http.StatusInternalServerError, Ack: errs.DeadLetter, Retry: false},
	} {
		if got := errs.PolicyOf(kind); got != want || kind.String() != want.Name {
			t.Errorf("%v: %+v, want %+v", kind, got, want)
		}
	}
}

func TestKindOf(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want errs.Kind
	}{
		"no error":                {nil, errs.Internal},
		"a plain error":           {io.ErrUnexpectedEOF, errs.Internal},
		"cancelled":               {fmt.Errorf("search: %w", context.Canceled), errs.Unavailable},
		"too late":                {context.DeadlineExceeded, errs.Unavailable},
		"its own":                 {errs.New(errs.Corrupt, "bad checksum"), errs.Corrupt},
		"wrapped":                 {fmt.Errorf("open: %w", errs.New(errs.NotFound, "no file")), errs.NotFound},
		"the outermost wins":      {errs.New(errs.Corrupt, "bundle: %w", errs.New(errs.NotFound, "no file")), errs.Corrupt},
		"more than cancellation":  {errs.New(errs.Overloaded, "queue: %w", context.DeadlineExceeded), errs.Overloaded},
		"one of several":          {errors.Join(io.EOF, errs.New(errs.Invalid, "x")), errs.Invalid},
		"a field is always input": {errs.Field("k", "expected 1, found 0"), errs.Invalid},
	} {
		if got := errs.KindOf(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestFieldOf(t *testing.T) {
	field := errs.Field("frames.dim", "expected %d, found %d", 1536, 7)
	if got := field.Error(); got != "frames.dim: expected 1536, found 7" {
		t.Errorf("message %q", got)
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"none":               {io.EOF, ""},
		"no error":           {nil, ""},
		"without field":      {errs.New(errs.Invalid, "x"), ""},
		"direct":             {field, "frames.dim"},
		"wrapped":            {fmt.Errorf("event 7: %w", field), "frames.dim"},
		"under another kind": {errs.New(errs.Corrupt, "record 3: %w", field), "frames.dim"},
		"the outermost":      {&errs.Error{Field: "outer", Err: field}, "outer"},
	} {
		if got := errs.FieldOf(c.err); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestWrapping: errors.Is reaches through.
func TestWrapping(t *testing.T) {
	err := errs.New(errs.Unavailable, "fetch: %w", io.ErrUnexpectedEOF)
	if !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "fetch: unexpected EOF" {
		t.Errorf("%v", err)
	}
}
