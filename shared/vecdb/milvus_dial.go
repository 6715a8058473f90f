package vecdb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"videosim/shared/errs"
)

// dial connects. The SDK blocks until the connection stands or ctx ends and
// keeps the reason to itself, so the error lists what usually is.
func dial(ctx context.Context, cfg MilvusConfig) (*client.GrpcClient, error) {
	options := slices.Clone(client.DefaultGrpcOpts) // setting DialOptions drops them
	// Outermost, so before the SDK's own repetitions.
	options = append(options, grpc.WithChainUnaryInterceptor(failFast, statusToError))
	if cfg.TLS.used() {
		tlsConfig, err := cfg.TLS.load()
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(tlsConfig)))
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	c, err := client.NewClient(ctx, client.Config{
		Address: cfg.Address, Username: cfg.User, Password: cfg.Password, DialOptions: options,
	})
	if err != nil {
		return nil, dialError(cfg, err)
	}
	g, ok := c.(*client.GrpcClient)
	if !ok {
		return nil, fmt.Errorf("milvus client is a %T, expected a GrpcClient", c)
	}
	return g, nil
}

func dialError(cfg MilvusConfig, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return milvusError("connect to milvus at "+cfg.Address, err)
	}
	hint := "does the server want TLS (milvus-tls-enabled)?"
	if cfg.TLS.used() {
		hint = "does the server speak TLS, and did the authority in milvus-tls-ca sign its certificate? Does it ask for ours (milvus-tls-cert)?"
	}
	return errs.New(errs.Unavailable, "connect to milvus at %s: no connection within %s; is it running and is the address right? %s (%w)",
		cfg.Address, cfg.ConnectTimeout, hint, err)
}

func (t TLSConfig) used() bool { return t.Enabled || t.CA != "" || t.Cert != "" || t.ServerName != "" }

func (t TLSConfig) load() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, errs.Field("milvus-tls-ca", "%w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errs.Field("milvus-tls-ca", "%s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, errs.Field("milvus-tls-cert", "%w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// statusError is a failure that Milvus reports inside an answer.
type statusError struct {
	code   int32              // Milvus ≥ 2.3; 0 when it gave none
	legacy commonpb.ErrorCode // of all versions
	reason string
}

func (e *statusError) Error() string { return fmt.Sprintf("%s (code %d)", e.reason, e.code) }

// failFast refuses a call while the connection is known to be broken. Without
// it every call, and so every caller of ours, would hang until its deadline.
// gRPC keeps trying to connect by itself, every 3 s at the least.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if cc.GetState() == connectivity.TransientFailure {
		return status.Error(codes.Unavailable, "no connection to the server, trying again")
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// statusToError turns a status inside an answer into an error before the SDK
// sees it: the SDK would keep the text and drop the code.
func statusToError(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if err := invoke(ctx, method, req, reply, cc, opts...); err != nil {
		return err
	}
	var found *commonpb.Status
	switch r := reply.(type) {
	case *commonpb.Status:
		found = r
	case interface{ GetStatus() *commonpb.Status }:
		found = r.GetStatus()
	}
	legacy := found.GetErrorCode() //lint:ignore SA1019 servers of 2.3 fill only this code for some errors
	if found.GetCode() == 0 && legacy == commonpb.ErrorCode_Success {
		return nil
	}
	return &statusError{code: found.GetCode(), legacy: legacy, reason: found.GetReason()}
}
