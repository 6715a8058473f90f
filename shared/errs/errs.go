// Package errs gives every error of the suite a Kind, and holds the one table
// that turns a Kind into an HTTP status, a JetStream acknowledgement and a
// retry rule. Nothing else in the suite decides these.
package errs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Kind says whose fault an error is, and so what may be done about it.
type Kind uint8

const (
	// Internal is a bug or an unforeseen failure. It is the Kind of any error
	// that carries none.
	Internal Kind = iota
	// Invalid is input that can never be accepted as it is.
	Invalid
	// NotFound is a reference to something that does not exist.
	NotFound
	// Overloaded is work refused because too much is waiting already.
	Overloaded
	// Unavailable is a dependency that does not answer now.
	Unavailable
	// Corrupt is stored data that fails its own check.
	Corrupt
)

// Ack is what a stream consumer does with a message whose handling failed.
type Ack uint8

const (
	// NakUntilLimit redelivers until the worker's limit, then dead-letters.
	NakUntilLimit Ack = iota
	// NakWithDelay redelivers after a delay that grows with each delivery.
	NakWithDelay
	// DeadLetter stores the message in DEAD and terminates it at once.
	DeadLetter
)

// Policy is one line of the table.
type Policy struct {
	Name  string // stable, used in metrics, dead letters and problem types
	HTTP  int    // status of an answer that fails this way
	Ack   Ack    // what a stream consumer does
	Retry bool   // whether the same call may succeed later
}

var table = [...]Policy{
	Internal:    {"internal", http.StatusInternalServerError, NakUntilLimit, true},
	Invalid:     {"invalid", http.StatusBadRequest, DeadLetter, false},
	NotFound:    {"not-found", http.StatusNotFound, DeadLetter, false},
	Overloaded:  {"overloaded", http.StatusTooManyRequests, NakWithDelay, true},
	Unavailable: {"unavailable", http.StatusServiceUnavailable, NakWithDelay, true},
	Corrupt:     {"corrupt", http.StatusInternalServerError, DeadLetter, false},
}

// PolicyOf returns the table's line for k.
func PolicyOf(k Kind) Policy { return table[k] }

func (k Kind) String() string { return table[k].Name }

// Error is an error with a Kind. Field, when set, names the input field,
// tensor or file position at fault.
type Error struct {
	Kind  Kind
	Field string
	Err   error
}

func (e *Error) Error() string {
	if e.Field == "" {
		return e.Err.Error()
	}
	return e.Field + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// New makes an error of Kind k; format and args are those of fmt.Errorf, %w included.
func New(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

// Field makes an Invalid error about the named input field. The message says
// what was expected and what was found.
func Field(field, format string, args ...any) error {
	return &Error{Kind: Invalid, Field: field, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the Kind of the outermost *Error in err's chain. Without one,
// a context's end counts as Unavailable and everything else as Internal.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	}
	return Internal
}

// FieldOf returns the Field of the outermost *Error that has one, else "".
func FieldOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Field != "" {
			return e.Field
		}
		err = e.Err
	}
	return ""
}
