package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"

	"videosim/shared/errs"
)

// tls is nil where HTTP is served plainly.
func (c Settings) tls() (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	pair := &certificate{cert: c.TLSCert, key: c.TLSKey}
	if _, err := pair.current(nil); err != nil {
		return nil, errs.New(errs.Invalid, "tls-cert: %w", err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.current, NextProtos: []string{"h2", "http/1.1"}}
	if c.TLSClientCA == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(c.TLSClientCA)
	if err != nil {
		return nil, errs.New(errs.Invalid, "tls-client-ca: %w", err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, errs.Field("tls-client-ca", "no certificate in %s", c.TLSClientCA)
	}
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	return conf, nil
}

// certificate is read again when its file changes, so that renewing it needs
// no restart.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time // of the loaded file
}

func (c *certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.cert)
	if err == nil && c.loaded != nil && info.ModTime().Equal(c.changed) {
		return c.loaded, nil
	}
	pair, loadErr := tls.LoadX509KeyPair(c.cert, c.key)
	if err == nil && loadErr == nil {
		c.loaded, c.changed = &pair, info.ModTime()
		return c.loaded, nil
	}
	if c.loaded != nil {
		return c.loaded, nil // half a renewal: the old one serves until both files fit
	}
	return nil, fmt.Errorf("load %s: %w", c.cert, loadErr)
}
