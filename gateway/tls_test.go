package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// issue makes a certificate for 127.0.0.1 that signs itself, in two files.
func issue(t *testing.T, dir, name string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// serveRig runs the rig's server on a socket of its own until the test ends.
func serveRig(t *testing.T, r *rig) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	address, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- r.serve(ctx, func(a net.Addr) { address <- a }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	select {
	case a := <-address:
		return a.String()
	case err := <-ended:
		ended <- err
		t.Fatalf("serve: %v", err)
	}
	return ""
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := issue(t, dir, "server", 1)
	callerCert, callerKey := issue(t, dir, "caller", 2)
	r := newRig(t, func(c *Config) { c.TLSCert, c.TLSKey, c.TLSClientCA = cert, key, callerCert })
	address := serveRig(t, r)
	pair, err := tls.LoadX509KeyPair(callerCert, callerKey)
	if err != nil {
		t.Fatal(err)
	}
	// The server's certificate changes between calls, so it is looked at
	// rather than verified.
	ask := func(certificates ...tls.Certificate) (serial int64, err error) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}}} //nolint:gosec // see above
		res, err := client.Get("https://" + address + "/openapi.json")
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		if res.StatusCode != 200 || res.Header.Get("Strict-Transport-Security") == "" {
			return 0, errors.New(res.Status + " or no Strict-Transport-Security")
		}
		return res.TLS.PeerCertificates[0].SerialNumber.Int64(), nil
	}
	if serial, err := ask(pair); err != nil || serial != 1 {
		t.Fatalf("with a certificate: serial %d, %v", serial, err)
	}
	if _, err := ask(); err == nil {
		t.Error("a caller without a certificate got in")
	}
	issue(t, dir, "server", 3)
	later := time.Now().Add(time.Minute) // a coarse clock could give both files one time
	if err := os.Chtimes(cert, later, later); err != nil {
		t.Fatal(err)
	}
	if serial, err := ask(pair); err != nil || serial != 3 {
		t.Errorf("after the renewal: serial %d, %v", serial, err)
	}
	if res, err := http.Get("http://" + address + "/"); err == nil {
		res.Body.Close()
		if res.StatusCode == 200 {
			t.Error("plain HTTP is answered on the TLS port")
		}
	}
}

// Calls in hand are answered when the process is told to stop.
func TestStopFinishesCalls(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	ctx, stop := context.WithCancel(t.Context())
	address, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- r.serve(ctx, func(a net.Addr) { address <- a }) }()
	r.url = "http://" + (<-address).String()
	answered := make(chan reply, 1)
	go func() { answered <- r.call("GET", "/v1/videos/v1/similar?min_sequence=11&wait_ms=5000", "") }()
	for len(r.slots) == 0 {
		time.Sleep(time.Millisecond)
	}
	stop()
	time.Sleep(20 * time.Millisecond)
	r.progress.set(11)
	(<-answered).want(200)
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}
