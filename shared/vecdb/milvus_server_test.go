package vecdb

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"videosim/shared/errs"
	"videosim/shared/testkit"
)

func startServer(t *testing.T, settings map[string]any) *testkit.MilvusServer {
	t.Helper()
	server, err := testkit.StartMilvus(t.TempDir(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// A server that is away at the start, comes, is killed and comes back: calls
// fail at once as Unavailable and say why, the same client answers again by
// itself each time, and every acknowledged write is there.
func TestMilvusSurvivesKill(t *testing.T) {
	server := startServer(t, nil)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	m, err := OpenMilvus(ctx, DefaultMilvus(server.Address()), "killed", 8)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	vectors := [][]float32{{1, 0, 0, 0, 0, 0, 0, 0}, {0, 1, 0, 0, 0, 0, 0, 0}}
	checkAway(t, m, server.Address())
	restart(t, server, m)
	fill(t, m, vectors)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	checkAway(t, m, server.Address())
	restart(t, server, m)
	if n, err := m.Count(ctx); err != nil || n != 2 {
		t.Errorf("count %d (%v), expected 2", n, err)
	}
	hits, err := m.Search(ctx, Query{Vector: vectors[1], K: 1})
	if err != nil || len(hits) != 1 || hits[0].Record.ID != videoID(1) {
		t.Errorf("search found %v (%v), expected %s", hits, err, videoID(1))
	}
}

// checkAway asks a dead server: the second answer at the latest comes at once.
func checkAway(t *testing.T, m *Milvus, address string) {
	t.Helper()
	var err error
	start := time.Now()
	for range 2 {
		start = time.Now()
		_, err = m.Search(context.Background(), Query{Vector: make([]float32, 8), K: 1})
		if errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), address) {
			t.Errorf("search of a dead server: %v of kind %s", err, errs.KindOf(err))
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the error took %s, expected none to wait", took)
	}
	if err := m.Ready(context.Background()); err == nil || !strings.Contains(err.Error(), m.Collection()) {
		t.Errorf("ready with a dead server: %v", err)
	}
}

func restart(t *testing.T, server *testkit.MilvusServer, m *Milvus) {
	t.Helper()
	start := time.Now()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := m.WaitReady(wait); err != nil {
		t.Fatal(err)
	}
	t.Logf("answers %s after the server's start", time.Since(start).Round(time.Second))
}

// TLS and a password: the right ones open, the wrong ones say what is wrong.
func TestMilvusTLSAndPassword(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir)
	server := startServer(t, map[string]any{
		"common.security.tlsMode":              1,
		"common.security.authorizationEnabled": true,
		"tls.serverPemPath":                    cert,
		"tls.serverKeyPath":                    key,
	})
	cfg := DefaultMilvus(server.Address())
	cfg.TLS.CA = cert
	cfg.User, cfg.Password = "root", "Milvus" // what Milvus starts with
	m := openConfigured(t, cfg, "locked", 8)
	fill(t, m, [][]float32{{1, 0, 0, 0, 0, 0, 0, 0}})

	cfg.ConnectTimeout = 2 * time.Second
	for what, c := range map[string]struct {
		change func(c *MilvusConfig)
		says   string
	}{
		"a wrong password":     {func(c *MilvusConfig) { c.Password = "wrong" }, "auth"},
		"no TLS":               {func(c *MilvusConfig) { c.TLS = TLSConfig{} }, "milvus-tls-enabled"},
		"an unknown authority": {func(c *MilvusConfig) { c.TLS = TLSConfig{Enabled: true} }, "milvus-tls-ca"},
	} {
		wrong := cfg
		c.change(&wrong)
		m, err := OpenMilvus(context.Background(), wrong, "locked", 8)
		if err != nil {
			t.Fatal(err)
		}
		wait, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		err = m.WaitReady(wait)
		if errs.KindOf(err) != errs.Unavailable || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v of kind %s, expected unavailable and a word about %s", what, err, errs.KindOf(err), c.says)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// writeCertificate makes a certificate for 127.0.0.1 that signs itself.
func writeCertificate(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "milvus test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", keyDER)
	return certFile, keyFile
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A server that asks for a client's certificate gets ours, and refuses a
// client without one.
func TestMilvusClientCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir)
	server := startServer(t, map[string]any{
		"common.security.tlsMode": 2,
		"tls.serverPemPath":       cert,
		"tls.serverKeyPath":       key,
		"tls.caPemPath":           cert,
	})
	cfg := DefaultMilvus(server.Address())
	cfg.TLS = TLSConfig{CA: cert, Cert: cert, Key: key}
	m := openConfigured(t, cfg, "mutual", 8)
	fill(t, m, [][]float32{{1, 0, 0, 0, 0, 0, 0, 0}})

	cfg.ConnectTimeout = 2 * time.Second
	cfg.TLS.Cert, cfg.TLS.Key = "", ""
	without, err := OpenMilvus(context.Background(), cfg, "mutual", 8)
	if err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := without.WaitReady(wait); errs.KindOf(err) != errs.Unavailable || err == nil || !strings.Contains(err.Error(), "milvus-tls-cert") {
		t.Errorf("without a certificate: %v of kind %s, expected unavailable and a word about milvus-tls-cert", err, errs.KindOf(err))
	}
	if err := without.Close(); err != nil {
		t.Error(err)
	}
}
