package event

import (
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"

	"videosim/shared/errs"
)

// Streams.
const (
	StreamVideos     = "VIDEOS"     // videos.<id>: the latest event of every video
	StreamEmbeddings = "EMBEDDINGS" // embeddings.<fingerprint>.<id>: the latest embedding of every video and model
	StreamDead       = "DEAD"       // dead.<subject>: what could not be processed
)

// Headers of the suite.
const (
	HeaderContentType = "Content-Type"
	HeaderMsgID       = "Nats-Msg-Id"       // one publish and its retries
	HeaderSequence    = "Videosim-Sequence" // on EMBEDDINGS: the source sequence, decimal
	HeaderDeadline    = "Videosim-Deadline" // on requests: Unix milliseconds

	HeaderDeadReason     = "Videosim-Dead-Reason"
	HeaderDeadKind       = "Videosim-Dead-Kind"
	HeaderDeadField      = "Videosim-Dead-Field" // where the error names one
	HeaderDeadSubject    = "Videosim-Dead-Subject"
	HeaderDeadStream     = "Videosim-Dead-Stream"
	HeaderDeadSequence   = "Videosim-Dead-Sequence"
	HeaderDeadConsumer   = "Videosim-Dead-Consumer"
	HeaderDeadDeliveries = "Videosim-Dead-Deliveries"
	HeaderDeadTime       = "Videosim-Dead-Time"      // RFC 3339
	HeaderDeadTruncated  = "Videosim-Dead-Truncated" // bytes of the original, where it did not fit
)

// Content types.
const (
	ContentProtobuf = "application/protobuf"
	ContentJSON     = "application/json"
)

const (
	videosPrefix     = "videos."
	embeddingsPrefix = "embeddings."
	embedPrefix      = "embed."
	deadPrefix       = "dead."

	// MaxIDBytes is the longest id, in bytes of UTF-8.
	MaxIDBytes = 64

	// encoded marks a token that is base64url of an id.
	encoded = "~"
)

// VideoSubject is where events of the video id are published.
func VideoSubject(id string) string { return videosPrefix + token(id) }

// EmbeddingSubject is where embeddings of the video id by the model are kept.
func EmbeddingSubject(fingerprint, id string) string {
	return embeddingsPrefix + fingerprint + "." + token(id)
}

// EmbeddingFilter matches every embedding of one model.
func EmbeddingFilter(fingerprint string) string { return embeddingsPrefix + fingerprint + ".>" }

// EmbedSubject is where embedders of the model answer requests.
func EmbedSubject(fingerprint string) string { return embedPrefix + fingerprint }

// DeadSubject is where a message of the given subject is kept when it cannot
// be processed.
func DeadSubject(subject string) string { return deadPrefix + subject }

// IDFromSubject returns the video's id in a subject of VIDEOS, EMBEDDINGS or
// DEAD. An id has one spelling: a token that encodes an id which is legal as
// it is, is Invalid, or one video would have two subjects and so no order.
func IDFromSubject(subject string) (string, error) {
	subject = strings.TrimPrefix(subject, deadPrefix)
	rest, ok := strings.CutPrefix(subject, videosPrefix)
	if !ok {
		if rest, ok = strings.CutPrefix(subject, embeddingsPrefix); ok {
			_, rest, ok = strings.Cut(rest, ".")
		}
	}
	if !ok {
		return "", errs.Field("subject", "expected videos.<id> or embeddings.<fingerprint>.<id>, found %q", subject)
	}
	id := rest
	if code, ok := strings.CutPrefix(rest, encoded); ok {
		raw, err := base64.RawURLEncoding.DecodeString(code)
		if err != nil {
			return "", errs.Field("subject", "token %q is not base64url: %w", rest, err)
		}
		id = string(raw)
	}
	if err := ValidateID(id); err != nil {
		return "", err
	}
	if token(id) != rest {
		return "", errs.Field("subject", "expected token %q for id %q, found %q", token(id), id, rest)
	}
	return id, nil
}

// ValidateID checks that id is 1 to 64 bytes of UTF-8 without a zero byte, which
// no index takes.
func ValidateID(id string) error {
	switch {
	case id == "":
		return errs.Field("id", "expected 1 to %d bytes, found none", MaxIDBytes)
	case len(id) > MaxIDBytes:
		return errs.Field("id", "expected 1 to %d bytes, found %d", MaxIDBytes, len(id))
	case !utf8.ValidString(id):
		return errs.Field("id", "expected UTF-8, found %q", id)
	case strings.Contains(id, "\x00"):
		return errs.Field("id", "expected no zero byte, found %q", id)
	}
	return nil
}

// token spells id as one subject token: itself where that is legal, else
// base64url behind a ~.
func token(id string) string {
	if legalToken(id) {
		return id
	}
	return encoded + base64.RawURLEncoding.EncodeToString([]byte(id))
}

func legalToken(id string) bool {
	if id == "" || strings.HasPrefix(id, encoded) || !utf8.ValidString(id) {
		return false
	}
	return !strings.ContainsFunc(id, func(r rune) bool {
		return r == '.' || r == '*' || r == '>' || unicode.IsSpace(r) || unicode.IsControl(r)
	})
}
