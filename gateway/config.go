package gateway

import (
	"net"
	"time"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/vecdb"
)

// Config of the gateway. Every field is a flag, a key of the config file and
// an environment variable of the same name.
type Config struct {
	Bundle string `help:"Folder of the bundle whose embeddings to serve; only its manifest is read." placeholder:"DIR" type:"path"`

	Settings `embed:""`

	Index vecdb.Config `embed:""`
	NATS  bus.Config   `embed:"" prefix:"nats-"`
}

// Settings are those of the gateway alone; the all-in-one program has them too.
type Settings struct {
	Listen string `help:"Address to serve HTTP on. Without keys only a loopback address is accepted; port 0 takes a free one." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`

	Keys           []Key    `help:"API keys, as NAME:SHA256:SCOPE+SCOPE (scopes: query, ingest, admin), comma-separated; a list of {name, hash, scopes} in the config file. Two keys may share a name while one replaces the other." placeholder:"KEY" secret:""`
	KeysFile       string   `help:"File with more API keys, one NAME:SHA256:SCOPE+SCOPE a line, # before a remark; read again within a second when it changes, so that keys come and go without a restart." placeholder:"FILE"`
	InsecureNoKeys bool     `help:"Serve an address that is not loopback without any keys: whoever reaches it may query and publish."`
	Hosts          []string `help:"Names under which callers may reach this gateway, comma-separated. Without any, a gateway on a loopback address answers to localhost and to addresses alone, for a page elsewhere could point its own name here (DNS rebinding); others answer to every name." placeholder:"NAME"`
	TLSCert        string   `help:"PEM file of the certificate to serve HTTPS with; read again when it changes." placeholder:"FILE"`
	TLSKey         string   `help:"PEM file of the certificate's key." placeholder:"FILE"`
	TLSClientCA    string   `help:"PEM file of the authority that signs callers' certificates; callers without one are refused (mTLS)." placeholder:"FILE"`

	RateLimit     float64       `help:"Calls a second that one key, or one address where there are no keys, may make on average; 0: any number." default:"0"`
	RateBurst     int           `help:"Calls that may come at once under rate-limit." default:"50"`
	MaxInFlight   int           `help:"Calls at work at once; more are refused as overloaded. Each may hold its body and its answer in memory." default:"256"`
	KeyInFlight   int           `help:"Calls of one key at work at once, so that a noisy caller leaves slots for the others." default:"64"`
	HeaderTimeout time.Duration `help:"Longest time for the header of one call." default:"10s"`
	MaxBodyBytes  int64         `help:"Largest JSON body in bytes. Streams of pairs have no limit; label files have one of pairs." default:"8388608"`
	MaxLabelPairs int           `help:"Most pairs of one evaluation, about 400 bytes of memory each." default:"1000000"`
	Timeout       time.Duration `help:"Longest time for one call; a caller may ask for less with the header Videosim-Timeout-Ms." default:"15s"`
	StreamTimeout time.Duration `help:"Longest time for one evaluation, and longest silence of a stream of pairs." default:"60s"`
	StopTimeout   time.Duration `help:"How long calls in hand may take to finish when the process is told to stop." default:"20s"`

	VectorCache int `help:"Embeddings kept in memory for queries by id, so that each is one search of Milvus without a fetch before; about 1.5 KB each. The search proves what is kept, so it is never stale. 0: none; the index in memory needs none." default:"20000"`

	QualityInterval time.Duration `help:"How often a sample of the queries since the last time is answered exactly as well, for the gauge recall_at_k, and a sample of embeddings looked at for drift: one paced pass over the stream of embeddings. 0: never." default:"10m"`

	PageTokenKey string `help:"Secret that signs page tokens; the same for all gateways behind one address. Empty: a random one, so that tokens die with the process." secret:""`
}

// Validate returns an Invalid error that names the first field at fault.
func (c Config) Validate() error {
	if c.Bundle == "" {
		return errs.Field("bundle", "expected the folder of a bundle, found none; trainer train makes one")
	}
	if err := c.Index.Validate(); err != nil {
		return err
	}
	return c.Settings.validate()
}

func (c Settings) validate() error {
	if err := c.validateDoors(); err != nil {
		return err
	}
	for _, f := range []struct {
		name  string
		value int64
		max   int64
	}{
		{"rate-burst", int64(c.RateBurst), 1 << 20},
		{"max-in-flight", int64(c.MaxInFlight), 1 << 20},
		{"key-in-flight", int64(c.KeyInFlight), 1 << 20},
		{"max-body-bytes", c.MaxBodyBytes, 1 << 30},
		{"max-label-pairs", int64(c.MaxLabelPairs), 100_000_000},
	} {
		if f.value < 1 || f.value > f.max {
			return errs.Field(f.name, "expected 1 to %d, found %d", f.max, f.value)
		}
	}
	if q := c.QualityInterval; q != 0 && (q < time.Second || q > 24*time.Hour) {
		return errs.Field("quality-interval", "expected 0 or 1s to 24h, found %s", q)
	}
	if c.VectorCache < 0 || c.VectorCache > 1<<24 {
		return errs.Field("vector-cache", "expected 0 to %d, found %d", 1<<24, c.VectorCache)
	}
	if !(c.RateLimit >= 0 && c.RateLimit <= 1e9) {
		return errs.Field("rate-limit", "expected 0 to 1e9 calls a second, found %v", c.RateLimit)
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"timeout", c.Timeout}, {"header-timeout", c.HeaderTimeout}, {"stream-timeout", c.StreamTimeout}, {"stop-timeout", c.StopTimeout}} {
		if f.value < time.Millisecond || f.value > time.Hour {
			return errs.Field(f.name, "expected 1ms to 1h, found %s", f.value)
		}
	}
	return nil
}

// validateDoors checks who can get in.
func (c Settings) validateDoors() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return errs.Field("listen", "expected HOST:PORT: %w", err)
	}
	if err := Keys(c.Keys).validate(); err != nil {
		return err
	}
	if c.open() && !c.InsecureNoKeys && !loopback(host) {
		return errs.Field("listen", "%s can be reached from other machines, and there are no keys: "+
			"set keys, or listen on 127.0.0.1, or say insecure-no-keys: true", c.Listen)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errs.Field("tls-cert", "expected tls-cert and tls-key together")
	}
	if c.TLSClientCA != "" && c.TLSCert == "" {
		return errs.Field("tls-client-ca", "expected tls-cert and tls-key with it")
	}
	return nil
}

// open reports whether callers need no key.
func (c Settings) open() bool { return len(c.Keys) == 0 && c.KeysFile == "" }

// loopback reports whether only this machine reaches host. A name other than
// localhost is not trusted to stay one.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
