package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"

	"videosim/shared/errs"
)

// Scope is what a key may do.
type Scope string

// The scopes.
const (
	Query  Scope = "query"  // ask: similar, similarity, evaluations, embeddings, a video's state
	Ingest Scope = "ingest" // publish and take down videos
	Admin  Scope = "admin"  // everything
)

// Key is one API key, in the config file a mapping of its three fields, in a
// flag or variable NAME:HASH:SCOPE+SCOPE. Only its hash is configured, so that a config file in
// the wrong hands opens nothing; keys should be random (32 bytes or so), as a
// plain SHA-256 protects no guessable one.
type Key struct {
	Name   string  `json:"name"`   // for logs and rate limits
	Hash   string  `json:"hash"`   // SHA-256 of the key, 64 hex digits
	Scopes []Scope `json:"scopes"` // at least one
}

// UnmarshalText reads either form.
func (k *Key) UnmarshalText(text []byte) error {
	if len(text) > 0 && text[0] == '{' {
		type fields Key
		if err := json.Unmarshal(text, (*fields)(k), strict); err != nil {
			return fmt.Errorf("expected name, hash and scopes: %w", err)
		}
		return nil
	}
	parts := strings.Split(string(text), ":")
	if len(parts) != 3 {
		return fmt.Errorf("expected NAME:HASH:SCOPE+SCOPE, found %d parts", len(parts))
	}
	*k = Key{Name: parts[0], Hash: parts[1]}
	for scope := range strings.SplitSeq(parts[2], "+") {
		k.Scopes = append(k.Scopes, Scope(scope))
	}
	return nil
}

// Keys are the accepted keys.
type Keys []Key

// validate names the first key at fault.
func (k Keys) validate() error {
	for i, key := range k {
		at := fmt.Sprintf("keys[%d]", i)
		if key.Name == "" || len(key.Name) > 64 {
			return errs.Field(at+".name", "expected 1 to 64 bytes, found %d", len(key.Name))
		}
		if sum, err := hex.DecodeString(key.Hash); err != nil || len(sum) != sha256.Size {
			return errs.Field(at+".hash", "expected 64 hex digits: printf %%s KEY | sha256sum")
		}
		if len(key.Scopes) == 0 {
			return errs.Field(at+".scopes", "expected at least one of query, ingest and admin, found none")
		}
		for _, s := range key.Scopes {
			if s != Query && s != Ingest && s != Admin {
				return errs.Field(at+".scopes", "expected query, ingest or admin, found %q", s)
			}
		}
	}
	return nil
}

// HashKey is the hash of a key as the configuration holds it.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// doors lets callers in.
type doors struct {
	open bool // to everybody: no keys are configured
	keys []door
	file *keysFile // nil where there is none
}

type door struct {
	name   string
	hash   [sha256.Size]byte
	scopes []Scope
}

// newDoors expects validated settings; the keys file is read here.
func newDoors(cfg Settings, log *slog.Logger) (*doors, error) {
	d := &doors{open: cfg.open(), keys: toDoors(cfg.Keys)}
	if cfg.KeysFile == "" {
		return d, nil
	}
	d.file = &keysFile{path: cfg.KeysFile, log: log}
	return d, d.file.load()
}

// toDoors expects validated keys.
func toDoors(keys Keys) []door {
	out := make([]door, len(keys))
	for i, k := range keys {
		out[i] = door{name: k.Name, scopes: k.Scopes}
		_, _ = hex.Decode(out[i].hash[:], []byte(k.Hash)) // validated
	}
	return out
}

// find returns the door that a key opens. Every door is compared, whether or
// not one has matched, so that time tells nothing.
func (d *doors) find(key string) (door, bool) {
	sum := sha256.Sum256([]byte(key))
	var found *door
	for _, keys := range [][]door{d.keys, d.file.current()} {
		for i := range keys {
			if subtle.ConstantTimeCompare(sum[:], keys[i].hash[:]) == 1 {
				found = &keys[i]
			}
		}
	}
	if found == nil {
		return door{}, false
	}
	return *found, true
}

// authorize demands a key with the scope, where there are keys at all.
func (g *server) authorize(scope Scope) gin.HandlerFunc {
	return func(c *gin.Context) {
		if g.doors.open {
			return
		}
		presented := presentedKey(c.Request)
		if presented == "" {
			g.fail(c, refuse("unauthorized", http.StatusUnauthorized, "expected the header Authorization: Bearer KEY"))
			return
		}
		door, ok := g.doors.find(presented)
		if !ok {
			g.fail(c, refuse("unauthorized", http.StatusUnauthorized, "the key is not known"))
			return
		}
		c.Set(keyCaller, door.name)
		if !slices.Contains(door.scopes, scope) && !slices.Contains(door.scopes, Admin) {
			g.fail(c, refuse("forbidden", http.StatusForbidden, fmt.Sprintf("expected a key with the scope %s, found %v", scope, door.scopes)))
		}
	}
}

func presentedKey(r *http.Request) string {
	if scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key)
	}
	return r.Header.Get("X-Api-Key")
}
