package vecdb

import (
	"context"
	"regexp"
	"time"

	"videosim/shared/errs"
)

// Kinds of index.
const (
	KindExact  = "exact"
	KindMilvus = "milvus"
)

// Index types of Milvus.
const (
	IndexHNSW    = "hnsw"
	IndexIVFSQ8  = "ivf_sq8"
	IndexDiskANN = "diskann"
)

// Config chooses the index of a process.
type Config struct {
	Kind   string       `name:"index" yaml:"index" enum:"exact,milvus" default:"exact" help:"Where embeddings are kept: exact (in this process, every vector compared, rebuilt from the stream at start; needs the all-in-one program) or milvus."`
	Milvus MilvusConfig `embed:"" prefix:"milvus-" yaml:",inline"`
}

// MilvusConfig says how to reach Milvus and how its collection is indexed.
type MilvusConfig struct {
	Address        string        `yaml:"milvus-address" default:"localhost:19530" help:"Milvus host and port."`
	User           string        `yaml:"milvus-user" help:"Milvus user; empty where Milvus asks for none."`
	Password       string        `yaml:"milvus-password" secret:"" help:"Password of the Milvus user."`
	TLS            TLSConfig     `embed:"" prefix:"tls-" yaml:",inline"`
	Index          string        `yaml:"milvus-index" enum:"hnsw,ivf_sq8,diskann" default:"hnsw" help:"Index type of a new collection: hnsw (fast, all in memory), ivf_sq8 (a quarter of the memory, lower recall), diskann (mostly on the server's disk)."`
	Timeout        time.Duration `yaml:"milvus-timeout" default:"5s" help:"Deadline of one Milvus call. A search that takes longer is answered with 503."`
	ConnectTimeout time.Duration `yaml:"milvus-connect-timeout" default:"15s" help:"Deadline of connecting at start, the creation of a missing collection included."`
}

// TLSConfig is the client's side of a TLS connection.
type TLSConfig struct {
	Enabled    bool   `name:"enabled" yaml:"milvus-tls-enabled" help:"Connect to Milvus by TLS. Set by itself when one of the other TLS settings is."`
	CA         string `name:"ca" yaml:"milvus-tls-ca" type:"path" help:"PEM file of the authority that signed the server's certificate; empty: the system's."`
	Cert       string `name:"cert" yaml:"milvus-tls-cert" type:"path" help:"PEM file of the client certificate, where the server asks for one."`
	Key        string `name:"key" yaml:"milvus-tls-key" type:"path" help:"PEM file of the client certificate's key."`
	ServerName string `name:"server-name" yaml:"milvus-tls-server-name" help:"Name that the server's certificate must carry; empty: the host of the address."`
}

// Validate reports the first setting that cannot be.
func (c Config) Validate() error {
	switch c.Kind {
	case KindExact:
		return nil
	case KindMilvus:
		return c.Milvus.Validate()
	}
	return errs.Field("index", "expected %s or %s, found %q", KindExact, KindMilvus, c.Kind)
}

// Validate reports the first setting that cannot be.
func (c MilvusConfig) Validate() error {
	switch {
	case c.Address == "":
		return errs.Field("milvus-address", "expected host:port, found nothing")
	case c.Index != IndexHNSW && c.Index != IndexIVFSQ8 && c.Index != IndexDiskANN:
		return errs.Field("milvus-index", "expected %s, %s or %s, found %q", IndexHNSW, IndexIVFSQ8, IndexDiskANN, c.Index)
	case c.Timeout <= 0:
		return errs.Field("milvus-timeout", "expected more than 0, found %s", c.Timeout)
	case c.ConnectTimeout <= 0:
		return errs.Field("milvus-connect-timeout", "expected more than 0, found %s", c.ConnectTimeout)
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return errs.Field("milvus-tls-cert", "expected a certificate and its key, found one of them")
	case c.Password != "" && c.User == "":
		return errs.Field("milvus-user", "expected a user for the password, found none")
	}
	return nil
}

// DefaultMilvus is the configuration that the flags default to.
func DefaultMilvus(address string) MilvusConfig {
	return MilvusConfig{Address: address, Index: IndexHNSW, Timeout: 5 * time.Second, ConnectTimeout: 15 * time.Second}
}

// Open opens the index that cfg names for the model with this fingerprint,
// whose embeddings have dim numbers. An exact index starts empty.
func Open(ctx context.Context, cfg Config, fingerprint string, dim int) (Index, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Kind == KindMilvus {
		return OpenMilvus(ctx, cfg.Milvus, fingerprint, dim)
	}
	return NewExact(dim), nil
}

// Readier is implemented by indexes that can be open and not yet ready to
// answer. The error says what is missing.
type Readier interface {
	Ready(ctx context.Context) error
}

var validFingerprint = regexp.MustCompile(`^[0-9A-Za-z_]{1,64}$`)
