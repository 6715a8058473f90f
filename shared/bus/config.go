package bus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"videosim/shared/errs"
)

// Config says how to reach NATS. At most one way of proving who we are is set.
type Config struct {
	URL string `name:"url" default:"nats://127.0.0.1:4222" help:"Addresses of NATS, comma-separated (nats://, tls:// or ws://)."`

	Token     string `name:"token" secret:"" help:"Token to log in with."`
	User      string `name:"user" help:"User to log in as."`
	Password  string `name:"password" secret:"" help:"Password of the user."`
	NKeyFile  string `name:"nkey-file" help:"File with an nkey seed to log in with."`
	CredsFile string `name:"creds-file" help:"Credentials file (JWT and seed) to log in with."`

	CAFile   string `name:"ca-file" help:"PEM file of the authority that signed the server's certificate; default: the system's."`
	CertFile string `name:"cert-file" help:"PEM file of our certificate, where the server asks for one."`
	KeyFile  string `name:"key-file" help:"PEM file of our certificate's key."`

	ConnectTimeout time.Duration `name:"connect-timeout" default:"30s" help:"How long to try at start before giving up; later a lost connection is retried for ever."`
	Replicas       int           `name:"replicas" default:"1" help:"Copies of each stream that is created (1, 3 or 5; more than 1 needs a cluster)."`

	// Name is what the server's monitoring shows us as.
	Name string `kong:"-" yaml:"-"`
}

const defaultConnectTimeout = 30 * time.Second

// Validate checks c without touching the network.
func (c Config) Validate() error {
	for _, address := range strings.Split(c.URL, ",") {
		if _, err := url.Parse(strings.TrimSpace(address)); err != nil {
			var parse *url.Error // without the address, which may hold a password
			if errors.As(err, &parse) {
				err = parse.Err
			}
			return errs.Field("url", "expected addresses such as nats://host:4222: %w", err)
		}
	}
	ways := 0
	for _, set := range []bool{c.Token != "", c.User != "", c.NKeyFile != "", c.CredsFile != ""} {
		if set {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errs.Field("token", "expected one of token, user, nkey-file and creds-file, found %d", ways)
	case c.Password != "" && c.User == "":
		return errs.Field("user", "expected a user with the password")
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errs.Field("cert-file", "expected cert-file and key-file together")
	case c.ConnectTimeout < 0:
		return errs.Field("connect-timeout", "expected more than 0, found %s", c.ConnectTimeout)
	case c.Replicas < 0 || c.Replicas > 5 || c.Replicas > 0 && c.Replicas%2 == 0:
		return errs.Field("replicas", "expected 1, 3 or 5, found %d", c.Replicas)
	}
	return nil
}

// withoutPasswords is a list of addresses as an error may show it. A user
// without a password is a token.
func withoutPasswords(addresses string) string {
	all := strings.Split(addresses, ",")
	for i, address := range all {
		u, err := url.Parse(strings.TrimSpace(address))
		if err != nil || u.User == nil {
			continue
		}
		if _, has := u.User.Password(); !has {
			u.User = url.User("xxxxx")
		}
		all[i] = u.Redacted()
	}
	return strings.Join(all, ",")
}

// natsOptions are the client options that c asks for.
func (c Config) natsOptions() ([]nats.Option, error) {
	opts := []nats.Option{nats.Name(c.Name)}
	switch {
	case c.Token != "":
		opts = append(opts, nats.Token(c.Token))
	case c.User != "":
		opts = append(opts, nats.UserInfo(c.User, c.Password))
	case c.CredsFile != "":
		opts = append(opts, nats.UserCredentials(c.CredsFile))
	case c.NKeyFile != "":
		key, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read nkey file %s: %w", c.NKeyFile, err)
		}
		opts = append(opts, key)
	}
	secure, err := c.tls()
	if err != nil {
		return nil, err
	}
	if secure != nil {
		opts = append(opts, nats.Secure(secure))
	}
	return opts, nil
}

// tls is nil where nothing about TLS is configured; a tls:// address then
// still uses it, with the system's authorities.
func (c Config) tls() (*tls.Config, error) {
	if c.CAFile == "" && c.CertFile == "" {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errs.Field("ca-file", "no certificate in %s", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate %s: %w", c.CertFile, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}
