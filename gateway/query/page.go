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
	"math"
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

// tokenLife bounds how old a frozen list can be.
const tokenLife = time.Hour

// maxTokenBytes is more than the largest token: 1,000 ids of 64 bytes shown.
const maxTokenBytes = 128 << 10

// candidate is a place in the order (cosine descending, then id).
type candidate struct {
	id     string
	cosine float32
}

func (c candidate) before(o candidate) bool {
	return c.cosine > o.cosine || c.cosine == o.cosine && c.id < o.id
}

func candidates(hits []vecdb.Hit) []candidate {
	out := make([]candidate, len(hits))
	for i, h := range hits {
		out[i] = candidate{h.Record.ID, h.Cosine}
	}
	return out
}

// token is what a page leaves for the next. After a first page without
// diversity: the ids shown and the last place. After any other: the frozen rest.
type token struct {
	frozen bool
	shown  []string
	last   candidate
	rest   []candidate
}

// Layout: signature (16) | version (1) | unix seconds (8) | query digest (16) |
// frozen (1) | count | entries of (length, id, cosine). Version 1 is the first.
const (
	tokenVersion = 1
	signBytes    = 16
	digestBytes  = 16
	headBytes    = signBytes + 1 + 8 + digestBytes + 1
)

func (p *Pages) seal(q Similar, fingerprint string, t token) (string, error) {
	buf := make([]byte, signBytes, 512)
	buf = append(buf, tokenVersion)
	buf = binary.BigEndian.AppendUint64(buf, uint64(time.Now().Add(tokenLife).Unix()))
	digest, err := q.digest(fingerprint)
	if err != nil {
		return "", err
	}
	buf = append(buf, digest...)
	entries := t.rest
	if t.frozen {
		buf = append(buf, 1)
	} else {
		buf = append(buf, 0)
		entries = append(entries, t.last)
		for _, id := range t.shown {
			entries = append(entries, candidate{id: id})
		}
	}
	buf = binary.AppendUvarint(buf, uint64(len(entries)))
	for _, c := range entries {
		buf = binary.AppendUvarint(buf, uint64(len(c.id)))
		buf = append(buf, c.id...)
		buf = binary.BigEndian.AppendUint32(buf, math.Float32bits(c.cosine))
	}
	copy(buf, p.sign(buf[signBytes:]))
	return base64.RawURLEncoding.EncodeToString(buf), nil
}

func (p *Pages) sign(body []byte) []byte {
	m := hmac.New(sha256.New, p.key)
	m.Write(body)
	return m.Sum(nil)[:signBytes]
}

// open checks a token against the query that came with it.
func (p *Pages) open(q Similar, fingerprint string, now time.Time) (token, error) {
	var t token
	if len(q.PageToken) > maxTokenBytes {
		return t, badToken("it is too long")
	}
	buf, err := base64.RawURLEncoding.DecodeString(q.PageToken)
	if err != nil || len(buf) < headBytes || !hmac.Equal(buf[:signBytes], p.sign(buf[signBytes:])) {
		return t, badToken("it was not made by this gateway's key")
	}
	body := buf[signBytes:]
	if body[0] != tokenVersion {
		return t, badToken("it was made by another release")
	}
	if int64(binary.BigEndian.Uint64(body[1:])) < now.Unix() {
		return t, badToken("it has expired")
	}
	digest, err := q.digest(fingerprint)
	if err != nil {
		return t, err
	}
	if !bytes.Equal(body[9:9+digestBytes], digest) {
		return t, badToken("it belongs to another query or another model; repeat the first page's request with only page_token added")
	}
	t.frozen = body[9+digestBytes] == 1
	entries, err := readEntries(body[headBytes-signBytes:])
	if err != nil || !t.frozen && len(entries) == 0 {
		return t, errs.New(errs.Internal, "signed page token is malformed: %w", err)
	}
	if t.frozen {
		t.rest = entries
		return t, nil
	}
	t.last = entries[0]
	for _, c := range entries[1:] {
		t.shown = append(t.shown, c.id)
	}
	return t, nil
}

func badToken(why string) error { return errs.Field("page_token", "cannot be used: %s", why) }

func readEntries(body []byte) ([]candidate, error) {
	r := bytes.NewReader(body)
	n, err := binary.ReadUvarint(r)
	if err != nil || n > uint64(len(body)) {
		return nil, fmt.Errorf("count: %w", err)
	}
	out := make([]candidate, 0, n)
	for range n {
		length, err := binary.ReadUvarint(r)
		if err != nil || length+4 > uint64(r.Len()) {
			return nil, fmt.Errorf("entry %d is cut", len(out))
		}
		entry := make([]byte, length+4)
		_, _ = r.Read(entry) // the length was checked above
		out = append(out, candidate{string(entry[:length]), math.Float32frombits(binary.BigEndian.Uint32(entry[length:]))})
	}
	return out, nil
}

// digest identifies a query but for its page: the same question of the same
// model has the same digest.
func (q Similar) digest(fingerprint string) ([]byte, error) {
	h := sha256.New()
	f := q.Filter
	fmt.Fprintf(h, "%s\x00%d\x00%g\x00%g\x00%t\x00%v\x00%v\x00%d\x00%d\x00%q\x00",
		fingerprint, q.K, q.MinScore, q.Diversity, q.SkipMissing, f.Categories, f.Tags,
		f.PublishedAfter.UnixNano(), f.PublishedBefore.UnixNano(), f.ExcludeIDs)
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
