package vecdb

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"videosim/shared/errs"
)

// The flags' defaults are DefaultMilvus, and they are valid.
func TestConfigDefaults(t *testing.T) {
	var cli struct {
		Config `embed:""`
	}
	parser, err := kong.New(&cli)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	if want := (Config{Kind: KindExact, Milvus: DefaultMilvus("localhost:19530")}); cli.Config != want {
		t.Errorf("defaults are %+v, expected %+v", cli.Config, want)
	}
	if err := cli.Milvus.Validate(); err != nil {
		t.Error(err)
	}
	if _, err := parser.Parse([]string{"--index=milvus", "--milvus-address=a:1", "--milvus-tls-ca=/x", "--milvus-index=diskann"}); err != nil {
		t.Fatal(err)
	}
	if c := cli.Config; c.Kind != KindMilvus || c.Milvus.Address != "a:1" || c.Milvus.TLS.CA != "/x" || c.Milvus.Index != IndexDiskANN {
		t.Errorf("flags gave %+v", c)
	}
}

func TestConfigRefuses(t *testing.T) {
	for field, change := range map[string]func(c *Config){
		"index":                  func(c *Config) { c.Kind = "faiss" },
		"milvus-address":         func(c *Config) { c.Milvus.Address = "" },
		"milvus-index":           func(c *Config) { c.Milvus.Index = "flat" },
		"milvus-timeout":         func(c *Config) { c.Milvus.Timeout = 0 },
		"milvus-connect-timeout": func(c *Config) { c.Milvus.ConnectTimeout = -time.Second },
		"milvus-tls-cert":        func(c *Config) { c.Milvus.TLS.Key = "key.pem" },
		"milvus-user":            func(c *Config) { c.Milvus.Password = "secret" },
	} {
		c := Config{Kind: KindMilvus, Milvus: DefaultMilvus("localhost:19530")}
		change(&c)
		if _, err := Open(context.Background(), c, "abc", 8); errs.KindOf(err) != errs.Invalid || errs.FieldOf(err) != field {
			t.Errorf("%s: error %v", field, err)
		}
	}
}

func TestTLSFilesAreChecked(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for field, c := range map[string]TLSConfig{
		"milvus-tls-ca":   {CA: empty},
		"milvus-tls-cert": {Cert: empty, Key: empty},
	} {
		cfg := DefaultMilvus("localhost:1")
		cfg.TLS = c
		if _, err := OpenMilvus(context.Background(), cfg, "abc", 8); errs.KindOf(err) != errs.Invalid || errs.FieldOf(err) != field {
			t.Errorf("%s: error %v", field, err)
		}
	}
}

func TestOpenExact(t *testing.T) {
	index, err := Open(context.Background(), Config{Kind: KindExact}, "abc", 8)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := index.Count(context.Background()); err != nil || n != 0 {
		t.Errorf("count %d (%v)", n, err)
	}
	if err := index.Close(); err != nil {
		t.Error(err)
	}
	if _, err := index.Search(context.Background(), Query{Vector: make([]float32, 8), K: 1}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("search after close: %v", err)
	}
	if err := index.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}
