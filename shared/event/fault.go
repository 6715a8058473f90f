package event

import (
	"errors"

	"videosim/shared/errs"
)

// Fault turns the error fields of a reply back into the error that the other
// side had; nil where message is empty. An unknown kind counts as Internal:
// the other side may be newer.
func Fault(kind, field, message string) error {
	if message == "" {
		return nil
	}
	return &errs.Error{Kind: KindNamed(kind), Field: field, Err: errors.New(message)}
}

// FaultOf is the reverse: the fields that carry err, all empty for nil. The
// message leaves the field out, which travels on its own.
func FaultOf(err error) (kind, field, message string) {
	if err == nil {
		return "", "", ""
	}
	message, field = err.Error(), errs.FieldOf(err)
	var e *errs.Error
	if errors.As(err, &e) && err == error(e) && e.Field != "" {
		message = e.Err.Error()
	}
	return errs.KindOf(err).String(), field, message
}

// KindNamed is the Kind of a name as Kind.String spells it.
func KindNamed(name string) errs.Kind {
	for _, k := range []errs.Kind{errs.Invalid, errs.NotFound, errs.Overloaded, errs.Unavailable, errs.Corrupt} {
		if k.String() == name {
			return k
		}
	}
	return errs.Internal
}
