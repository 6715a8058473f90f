package bus

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// ServerConfig is the embedded NATS server's.
type ServerConfig struct {
	StoreDir string `name:"store-dir" default:"videosim-store" type:"path" help:"Folder of the streams."`
	Host     string `name:"host" default:"127.0.0.1" help:"Address to listen on; any but a loopback address needs a token."`
	Port     int    `name:"port" default:"4222" help:"Port to listen on; -1: a free one; 0: none, only this process can connect."`
	Token    string `name:"token" secret:"" help:"Token that clients must give."`

	// SyncAlways makes an acknowledgement mean "on the disk": the only setting
	// under which no acknowledged event is lost when the power fails, at 340
	// to 3,000 events of 100 KB a second. Without it, the last SyncInterval is
	// at risk then; a crash of the process loses nothing either way.
	SyncAlways   bool          `name:"sync-always" default:"true" negatable:"" help:"Sync every write to disk before it is acknowledged."`
	SyncInterval time.Duration `name:"sync-interval" default:"1s" help:"How often to sync without sync-always; what a power failure may take."`

	// MaxPayload is the largest message in bytes; default and least 1 MiB.
	MaxPayload int `name:"max-payload" default:"1048576" help:"Largest message, in bytes."`

	Log *slog.Logger `kong:"-" yaml:"-"` // nil: silent
}

// Validate checks c.
func (c ServerConfig) Validate() error {
	switch {
	case c.StoreDir == "":
		return errs.Field("store-dir", "expected a folder")
	case c.Port < -1 || c.Port > 65535:
		return errs.Field("port", "expected -1 to 65535, found %d", c.Port)
	case c.Port != 0 && c.Token == "" && !loopback(c.Host):
		return errs.Field("token", "expected a token where %s is listened on: anybody there could publish", c.Host)
	case c.MaxPayload != 0 && (c.MaxPayload < event.MaxEventBytes || c.MaxPayload > 8<<20):
		return errs.Field("max-payload", "expected %d to %d, found %d", event.MaxEventBytes, 8<<20, c.MaxPayload)
	}
	return nil
}

func loopback(host string) bool {
	if host == "" || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Server is a NATS server inside this process, with JetStream on disk.
type Server struct {
	ns  *server.Server
	cfg ServerConfig
}

const startTimeout = 30 * time.Second // a store of some 40 GB is read back at start

// StartServer returns when the server accepts connections and its streams are
// recovered.
func StartServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	if cfg.Host == "" {
		cfg.Host = "127.0.0.1"
	}
	opts := &server.Options{
		ServerName:    "videosim",
		Host:          cfg.Host,
		Port:          cfg.Port,
		DontListen:    cfg.Port == 0,
		Authorization: cfg.Token,
		JetStream:     true,
		StoreDir:      cfg.StoreDir,
		SyncAlways:    cfg.SyncAlways,
		SyncInterval:  cfg.SyncInterval,
		MaxPayload:    int32(max(cfg.MaxPayload, event.MaxEventBytes)),
		NoSigs:        true, // signals belong to the process, which calls Shutdown
		NoLog:         cfg.Log == nil,
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS in %s: %w", cfg.StoreDir, err)
	}
	if cfg.Log != nil {
		ns.SetLoggerV2(serverLog{cfg.Log.With("component", "nats-server")}, false, false, false)
	}
	ns.Start()
	if !ns.ReadyForConnections(startTimeout) {
		ns.Shutdown()
		return nil, errs.New(errs.Unavailable, "embedded NATS in %s: not ready after %s: is the port %d free and the folder writable?", cfg.StoreDir, startTimeout, cfg.Port)
	}
	if addr, ok := ns.Addr().(*net.TCPAddr); ok && cfg.Port != 0 {
		cfg.Port = addr.Port
	}
	return &Server{ns: ns, cfg: cfg}, nil
}

// ClientURL is where clients connect; "" without a listener.
func (s *Server) ClientURL() string {
	if s.cfg.Port == 0 {
		return ""
	}
	return s.ns.ClientURL()
}

// Config is what the server was started with, its real port filled in.
func (s *Server) Config() ServerConfig { return s.cfg }

// Shutdown ends the server in order and waits for it, so that the folder can
// be opened again at once. Clients should be closed before.
func (s *Server) Shutdown() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}

// serverLog passes the server's own lines on.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(f string, v ...any) { l.log.Debug(line(f, v)) }
func (l serverLog) Warnf(f string, v ...any)   { l.log.Warn(line(f, v)) }
func (l serverLog) Errorf(f string, v ...any)  { l.log.Error(line(f, v)) }
func (l serverLog) Fatalf(f string, v ...any)  { l.log.Error(line(f, v)) }
func (l serverLog) Debugf(f string, v ...any)  { l.log.Debug(line(f, v)) }
func (l serverLog) Tracef(f string, v ...any)  { l.log.Debug(line(f, v)) }

func line(f string, v []any) string { return strings.TrimSpace(fmt.Sprintf(f, v...)) }
