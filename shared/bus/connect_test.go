package bus_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/testkit"
)

func TestServerWithoutAListener(t *testing.T) {
	s, err := bus.StartServer(bus.ServerConfig{StoreDir: t.TempDir(), Token: "secret", SyncAlways: true})
	must(t, err)
	t.Cleanup(s.Shutdown)
	if s.ClientURL() != "" {
		t.Errorf("address %q, expected none", s.ClientURL())
	}
	b, err := bus.Connect(within(t), bus.Config{}, bus.WithServer(s))
	must(t, err)
	t.Cleanup(b.Close)
	must(t, b.EnsureStreams(within(t)))
	must(t, b.Ready(within(t)))
	if seq := publish(t, b, "v", "a title"); seq != 1 {
		t.Errorf("sequence %d, expected 1", seq)
	}
	findings, err := b.CheckServer(within(t))
	must(t, err)
	for _, f := range findings {
		if !f.OK || f.Unknown || f.Message == "" {
			t.Errorf("finding %+v, expected all well", f)
		}
	}
}

func TestCheckServerFromOutside(t *testing.T) {
	b := testkit.Bus(t)
	findings, err := b.CheckServer(within(t))
	must(t, err)
	last := findings[len(findings)-1]
	if last.Name != "sync" || !last.Unknown || !strings.Contains(last.Message, "sync_interval") {
		t.Errorf("finding %+v, expected that the sync setting is not known, and where it is", last)
	}
}

func TestTokenIsAsked(t *testing.T) {
	s, err := bus.StartServer(bus.ServerConfig{StoreDir: t.TempDir(), Port: -1, Token: "right"})
	must(t, err)
	t.Cleanup(s.Shutdown)
	start := time.Now()
	_, err = bus.Connect(within(t), bus.Config{URL: s.ClientURL(), Token: "wrong"})
	if errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "Authorization") {
		t.Errorf("error %v, expected a refusal", err)
	}
	if d := time.Since(start); d > patience/2 {
		t.Errorf("refused after %s, expected at once", d)
	}
	b, err := bus.Connect(within(t), bus.Config{URL: s.ClientURL(), Token: "right"})
	must(t, err)
	b.Close()
}

func TestConnectGivesUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	_, err = bus.Connect(within(t), bus.Config{URL: "nats://" + address, ConnectTimeout: 300 * time.Millisecond})
	if errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), address) {
		t.Errorf("error %v, expected it to name %s", err, address)
	}
}

func TestConnectWaitsForTheServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	must(t, l.Close())
	started := make(chan *bus.Server, 1)
	dir := t.TempDir()
	time.AfterFunc(300*time.Millisecond, func() {
		s, err := bus.StartServer(bus.ServerConfig{StoreDir: dir, Port: port})
		if err != nil {
			t.Error(err)
		}
		started <- s
	})
	b, err := bus.Connect(within(t), bus.Config{URL: "nats://127.0.0.1:" + big.NewInt(int64(port)).String()})
	must(t, err)
	b.Close()
	(<-started).Shutdown()
}

func TestServerLogs(t *testing.T) {
	var out bytes.Buffer
	s, err := bus.StartServer(bus.ServerConfig{
		StoreDir: t.TempDir(), Port: -1,
		Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	must(t, err)
	s.Shutdown()
	if !strings.Contains(out.String(), "component=nats-server") {
		t.Errorf("log %q, expected the server's lines", out.String())
	}
}

// TestKeysAndCertificates logs in with an nkey over TLS whose authority is
// private.
func TestKeysAndCertificates(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := certificate(t, dir)
	user, err := nkeys.CreateUser()
	must(t, err)
	seed, err := user.Seed()
	must(t, err)
	public, err := user.PublicKey()
	must(t, err)
	seedFile := filepath.Join(dir, "user.nk")
	must(t, os.WriteFile(seedFile, seed, 0o600))

	secure, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: certFile, KeyFile: keyFile})
	must(t, err)
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, TLSConfig: secure,
		Nkeys: []*server.NkeyUser{{Nkey: public}},
	})
	must(t, err)
	ns.Start()
	t.Cleanup(ns.Shutdown)
	if !ns.ReadyForConnections(patience) {
		t.Fatal("server not ready")
	}
	b, err := bus.Connect(within(t), bus.Config{URL: ns.ClientURL(), NKeyFile: seedFile, CAFile: certFile})
	must(t, err)
	b.Close()

	ctx, cancel := context.WithTimeout(within(t), time.Second)
	defer cancel()
	if _, err = bus.Connect(ctx, bus.Config{URL: ns.ClientURL(), NKeyFile: seedFile}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v, expected that the certificate is not trusted", err)
	}
}

func certificate(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP("127.0.0.1")}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certFile, keyFile
}

func TestConfigMistakes(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		field string
	}{
		{"two ways to log in", bus.Config{Token: "a", User: "b"}.Validate(), "token"},
		{"a password alone", bus.Config{Password: "a"}.Validate(), "user"},
		{"a certificate without a key", bus.Config{CertFile: "a"}.Validate(), "cert-file"},
		{"an address", bus.Config{URL: "nats://a b"}.Validate(), "url"},
		{"two replicas", bus.Config{Replicas: 2}.Validate(), "replicas"},
		{"a negative timeout", bus.Config{ConnectTimeout: -1}.Validate(), "connect-timeout"},
		{"no folder", bus.ServerConfig{}.Validate(), "store-dir"},
		{"a port", bus.ServerConfig{StoreDir: "a", Port: 70000}.Validate(), "port"},
		{"open to all", bus.ServerConfig{StoreDir: "a", Host: "0.0.0.0", Port: 4222}.Validate(), "token"},
		{"a small payload", bus.ServerConfig{StoreDir: "a", MaxPayload: 1000}.Validate(), "max-payload"},
	} {
		if errs.FieldOf(c.err) != c.field {
			t.Errorf("%s: error %v, expected it to name %s", c.name, c.err, c.field)
		}
	}
	for _, cfg := range []bus.ServerConfig{{StoreDir: "a"}, {StoreDir: "a", Host: "::1", Port: 1}, {StoreDir: "a", Host: "0.0.0.0", Port: 1, Token: "t"}} {
		must(t, cfg.Validate())
	}
}

// TestPasswordAndClientCertificate logs in with a user and a password over TLS
// whose server asks for our certificate, too.
func TestPasswordAndClientCertificate(t *testing.T) {
	certFile, keyFile := certificate(t, t.TempDir())
	secure, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: certFile, KeyFile: keyFile, CaFile: certFile, Verify: true})
	must(t, err)
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, TLSConfig: secure, Username: "suite", Password: "secret",
	})
	must(t, err)
	ns.Start()
	t.Cleanup(ns.Shutdown)
	if !ns.ReadyForConnections(patience) {
		t.Fatal("server not ready")
	}
	right := bus.Config{URL: ns.ClientURL(), User: "suite", Password: "secret", CAFile: certFile, CertFile: certFile, KeyFile: keyFile}
	b, err := bus.Connect(within(t), right)
	must(t, err)
	b.Close()
	for says, change := range map[string]func(*bus.Config){
		"check the token": func(c *bus.Config) { c.Password = "wrong" },
		"tls":             func(c *bus.Config) { c.CertFile, c.KeyFile = "", "" },
		"certificate":     func(c *bus.Config) { c.CAFile = "" },
	} {
		wrong := right
		change(&wrong)
		ctx, cancel := context.WithTimeout(within(t), time.Second)
		if _, err := bus.Connect(ctx, wrong); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, expected one that says %q", err, says)
		}
		cancel()
	}
}

// A password in an address does not get into an error, whatever is wrong.
func TestPasswordsOfAddressesAreNotShown(t *testing.T) {
	s, err := bus.StartServer(bus.ServerConfig{StoreDir: t.TempDir(), Port: -1, Token: "right"})
	must(t, err)
	t.Cleanup(s.Shutdown)
	host := strings.TrimPrefix(s.ClientURL(), "nats://")
	for _, address := range []string{
		"nats://me:hush@" + host, "nats://hush@" + host, // refused
		"nats://127.0.0.1:1,nats://me:hush@127.0.0.1:1", "nats://hush@127.0.0.1:1", // nobody there
		"nats://me:hush@a b", "nats://me:hush@host:port", // no addresses
	} {
		_, err := bus.Connect(within(t), bus.Config{URL: address, ConnectTimeout: 300 * time.Millisecond})
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: error %v, expected one without the password", address, err)
		}
	}
	b, err := bus.Connect(within(t), bus.Config{URL: "nats://right@" + host})
	must(t, err)
	b.Close()
}

// credentials makes an account of an operator, and a user of it in a file as
// the tool nsc writes it.
func credentials(t *testing.T, account nkeys.KeyPair, expires time.Time) (file string) {
	t.Helper()
	user, err := nkeys.CreateUser()
	must(t, err)
	public, err := user.PublicKey()
	must(t, err)
	claims := jwt.NewUserClaims(public)
	claims.Expires = expires.Unix()
	token, err := claims.Encode(account)
	must(t, err)
	seed, err := user.Seed()
	must(t, err)
	text, err := jwt.FormatUserConfig(token, seed)
	must(t, err)
	file = filepath.Join(t.TempDir(), "user.creds")
	must(t, os.WriteFile(file, text, 0o600))
	return file
}

// TestCredentialsFile logs in at a server that trusts an operator.
func TestCredentialsFile(t *testing.T) {
	operator, err := nkeys.CreateOperator()
	must(t, err)
	operatorKey, err := operator.PublicKey()
	must(t, err)
	account, err := nkeys.CreateAccount()
	must(t, err)
	accountKey, err := account.PublicKey()
	must(t, err)
	claims := jwt.NewAccountClaims(accountKey)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
	token, err := claims.Encode(operator)
	must(t, err)
	accounts := &server.MemAccResolver{}
	must(t, accounts.Store(accountKey, token))
	system, err := nkeys.CreateAccount()
	must(t, err)
	systemKey, err := system.PublicKey()
	must(t, err)
	systemToken, err := jwt.NewAccountClaims(systemKey).Encode(operator)
	must(t, err)
	must(t, accounts.Store(systemKey, systemToken))
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
		TrustedKeys: []string{operatorKey}, AccountResolver: accounts, SystemAccount: systemKey,
	})
	must(t, err)
	ns.Start()
	t.Cleanup(ns.Shutdown)
	if !ns.ReadyForConnections(patience) {
		t.Fatal("server not ready")
	}
	good := credentials(t, account, time.Now().Add(time.Hour))
	b, err := bus.Connect(within(t), bus.Config{URL: ns.ClientURL(), CredsFile: good})
	must(t, err)
	t.Cleanup(b.Close)
	must(t, b.EnsureStreams(within(t)))
	if seq := publish(t, b, "v", "a title"); seq != 1 {
		t.Errorf("sequence %d, expected 1", seq)
	}
	stranger, err := nkeys.CreateAccount()
	must(t, err)
	for name, cfg := range map[string]bus.Config{
		"none":       {},
		"of another": {CredsFile: credentials(t, stranger, time.Now().Add(time.Hour))},
		"expired":    {CredsFile: credentials(t, account, time.Now().Add(-time.Hour))},
	} {
		cfg.URL = ns.ClientURL()
		if _, err := bus.Connect(within(t), cfg); errs.KindOf(err) != errs.Unavailable || err == nil || !strings.Contains(err.Error(), "check the token, user, nkey or credentials") {
			t.Errorf("credentials %s: error %v, expected a refusal", name, err)
		}
	}
	if _, err := bus.Connect(within(t), bus.Config{URL: ns.ClientURL(), CredsFile: good + "x", ConnectTimeout: time.Second}); err == nil || !strings.Contains(err.Error(), good+"x") {
		t.Errorf("no file: error %v, expected its name", err)
	}
}
