package vecdb

import (
	"context"
	"errors"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"videosim/shared/errs"
)

// Milvus's own error codes, by hundreds (pkg/util/merr of Milvus 2.3).
const (
	codeServiceNotReady       = 1
	codeServiceRateLimit      = 8
	codeRequestLimit          = 4
	codeServiceInternal       = 5
	codeServiceForceDeny      = 9
	codeCollectionNotFound    = 100
	firstIndexCode            = 700
	firstNodeCode             = 900
	firstParameterCode        = 1100
	codePrivilegeUnauthorised = 1400
)

// milvusError gives an error of the SDK its Kind. What the server may recover
// from by itself is Unavailable, so that no message of a stream is given up
// for it; the same goes for credentials, which an operator sets right.
func milvusError(what string, err error) error {
	var known *errs.Error
	if errors.As(err, &known) {
		return errs.New(known.Kind, "%s: %w", what, err)
	}
	return errs.New(kindOf(err), "%s: %w", what, err)
}

func kindOf(err error) errs.Kind {
	var s *statusError
	if errors.As(err, &s) {
		return s.kind()
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errs.Unavailable
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted,
		codes.Unauthenticated, codes.PermissionDenied:
		return errs.Unavailable
	case codes.ResourceExhausted:
		return errs.Overloaded
	}
	return errs.Internal
}

// transient are texts of failures that a restarting or recovering Milvus, or one
// whose alias moves, reports with a code that says nothing.
var transient = []string{"not loaded", "not ready", "not healthy", "not available", "no available", "unavailable",
	"timeout", "deadline", "connection", "node not match", "nodeid not match", "lack", "recover", "closed", "can't find collection"}

func (e *statusError) kind() errs.Kind {
	switch {
	case e.code == codeServiceRateLimit, e.code == codeRequestLimit, e.legacy == commonpb.ErrorCode_RateLimit:
		return errs.Overloaded
	case e.code >= codeServiceNotReady && e.code <= codeServiceForceDeny && e.code != codeServiceInternal,
		e.code >= codeCollectionNotFound && e.code < firstIndexCode,
		e.code >= firstNodeCode && e.code < firstParameterCode,
		e.code == codePrivilegeUnauthorised:
		return errs.Unavailable
	}
	reason := strings.ToLower(e.reason)
	for _, t := range transient {
		if strings.Contains(reason, t) {
			return errs.Unavailable
		}
	}
	return errs.Internal
}

// isMissing reports whether err says that a collection does not exist.
func isMissing(err error) bool {
	var s *statusError
	return errors.As(err, &s) &&
		(s.code == codeCollectionNotFound || s.legacy == commonpb.ErrorCode_CollectionNotExists)
}

// isIndexMissing reports whether err says that there is no index.
func isIndexMissing(err error) bool {
	var s *statusError
	return errors.As(err, &s) &&
		(s.code == firstIndexCode || s.legacy == commonpb.ErrorCode_IndexNotExist)
}
