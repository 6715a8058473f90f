package query

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"time"

	"google.golang.org/protobuf/proto"

	"videosim/shared/errs"
	"videosim/shared/vecdb"
)

// Pages seals and opens page tokens. A token carries what the next page needs
// and is signed, so the gateway keeps nothing between pages and any gateway
// with the same key can answer the next one.
type Pages struct{ key []byte }

// NewPages makes a sealer. An empty secret means a random key: tokens then die
// with the process.
func NewPages(secret string) *Pages {
	if secret == "" {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails (crypto/rand)
		return &Pages{key: key}
	}
	key := sha256.Sum256([]byte("videosim page token\x00" + secret))
	return &Pages{key: key[:]}
}

// tokenLife bounds how old a list can be, from its first page.
const tokenLife = time.Hour

// maxTokenBytes is more than the largest token: 500 places of 64 bytes and
// what 256 inputs left behind.
const maxTokenBytes = 128 << 10

// candidate is a version of a video and its place in the order (cosine
// descending, then id).
type candidate struct {
	id       string
	cosine   float32
	sequence uint64
}

func (c candidate) before(o candidate) bool {
	return c.cosine > o.cosine || c.cosine == o.cosine && c.id < o.id
}

func candidates(hits []vecdb.Hit) []candidate {
	out := make([]candidate, len(hits))
	for i, h := range hits {
		out[i] = candidate{h.Record.ID, h.Cosine, h.Record.Sequence}
	}
	return out
}

// list is what all pages of one query have in common.
type list struct {
	expires   int64     // Unix seconds
	seen      uint64    // the index had seen events up to here when the first page was made
	direction []float32 // searched along; not kept once the list is frozen
	missing   []string
	reports   []Report
}

func newList(q Similar) list {
	return list{expires: time.Now().Add(tokenLife).Unix(), seen: q.Seen}
}

func (l list) page() *Page { return &Page{Seen: l.seen, Missing: l.missing, Reports: l.reports} }

// token is what a page leaves for the next. After a first page without
// diversity: where to search, what was shown and the last place of it. After
// any other: the frozen rest.
type token struct {
	list
	last  candidate
	shown []uint64 // see shownID
	rest  []candidate
}

func (t token) frozen() bool { return len(t.rest) > 0 }

// shownID stands for an id in a token. Two ids of one list in 2^64 meet.
func shownID(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

// Layout: signature (16) | version (1) | query digest (16) | the fields of
// token in the order of its types, lists behind their length. Versions:
//
//	1  ids instead of shownID, no seen, direction, missing, reports or sequences
//	2  this one
const (
	tokenVersion = 2
	signBytes    = 16
	digestBytes  = 16
	headBytes    = signBytes + 1 + digestBytes
)

// tokenText has one spelling for every token.
var tokenText = base64.RawURLEncoding.Strict()

func (p *Pages) seal(q Similar, fingerprint string, t token) (string, error) {
	digest, err := q.digest(fingerprint)
	if err != nil {
		return "", err
	}
	w := packer(make([]byte, signBytes, 2048))
	w = append(append(w, tokenVersion), digest...)
	if err := w.token(t); err != nil {
		return "", err
	}
	copy(w, p.sign(w[signBytes:]))
	return tokenText.EncodeToString(w), nil
}

func (p *Pages) sign(body []byte) []byte {
	m := hmac.New(sha256.New, p.key)
	m.Write(body)
	return m.Sum(nil)[:signBytes]
}

// open checks a token against the query that came with it.
func (p *Pages) open(q Similar, fingerprint string, now time.Time) (token, error) {
	if len(q.PageToken) > maxTokenBytes {
		return token{}, badToken("it is too long")
	}
	buf, err := tokenText.DecodeString(q.PageToken)
	if err != nil || len(buf) < headBytes || !hmac.Equal(buf[:signBytes], p.sign(buf[signBytes:])) {
		return token{}, badToken("it was not made by this gateway's key")
	}
	if buf[signBytes] != tokenVersion {
		return token{}, badToken("it was made by another release")
	}
	digest, err := q.digest(fingerprint)
	if err != nil {
		return token{}, err
	}
	if !bytes.Equal(buf[signBytes+1:headBytes], digest) {
		return token{}, badToken("it belongs to another query or another model; repeat the first page's request with only page_token added")
	}
	r := unpacker{rest: buf[headBytes:]}
	t := r.token()
	if r.err != nil {
		return token{}, errs.New(errs.Internal, "signed page token is malformed: %w", r.err)
	}
	if t.expires < now.Unix() {
		return token{}, badToken("it has expired; ask for the first page again")
	}
	if t.seen < q.MinSeen {
		return token{}, badToken(fmt.Sprintf("its list has seen sequence %d, and min_sequence demands %d; ask for the first page again", t.seen, q.MinSeen))
	}
	return t, nil
}

func badToken(why string) error { return errs.Field("page_token", "cannot be used: %s", why) }

// digest identifies a query but for its page: the same question of the same
// model has the same digest.
func (q Similar) digest(fingerprint string) ([]byte, error) {
	h := sha256.New()
	f := q.Filter
	fmt.Fprintf(h, "%s\x00%d\x00%g\x00%g\x00%t\x00%v\x00%v\x00%d.%d\x00%d.%d\x00%q\x00",
		fingerprint, q.K, q.MinScore, q.Diversity, q.SkipMissing, f.Categories, f.Tags,
		f.PublishedAfter.Unix(), f.PublishedAfter.Nanosecond(), f.PublishedBefore.Unix(), f.PublishedBefore.Nanosecond(), f.ExcludeIDs)
	for _, in := range q.Positive {
		if err := in.digest(h, "positive"); err != nil {
			return nil, err
		}
	}
	for _, in := range q.Negative {
		if err := in.digest(h, "negative"); err != nil {
			return nil, err
		}
	}
	return h.Sum(nil)[:digestBytes], nil
}

func (in Input) digest(h hash.Hash, sign string) error {
	fmt.Fprintf(h, "%s\x00%q\x00", sign, in.ID)
	if in.Video != nil {
		content, err := proto.MarshalOptions{Deterministic: true}.Marshal(in.Video)
		if err != nil {
			return fmt.Errorf("digest of %s: %w", in.Path, err)
		}
		h.Write(content)
	}
	return binary.Write(h, binary.LittleEndian, in.Embedding)
}
