package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// WithTLSFiles connects with TLS, by files of PEM: the authorities that the server's certificate may
// be from (empty: the system's), and the client's certificate and key for mutual TLS (both empty:
// none). Certificate and key are read again for each connection, so that renewing them needs no
// restart; the authorities are read once.
func WithTLSFiles(caFile, certFile, keyFile string) Option {
	return func(s *settings) {
		config, err := tlsFromFiles(caFile, certFile, keyFile)
		s.tls = config
		if err != nil {
			s.problems = append(s.problems, fmt.Errorf("WithTLSFiles: %w", err))
		}
	}
}

func tlsFromFiles(caFile, certFile, keyFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return config, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return config, fmt.Errorf("%s holds no certificate in PEM", caFile)
		}
	}
	if certFile == "" && keyFile == "" {
		return config, nil
	}
	load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
		return &certificate, err
	}
	config.GetClientCertificate = load
	_, err := load(nil) // a wrong file shows now, not at the first call
	return config, err
}

// TokenSource returns a bearer token that is good now. Space around it, such as a file's last line
// break, is left out.
type TokenSource func(context.Context) (string, error)

// bearer sends a TokenSource's tokens.
type bearer struct {
	source    TokenSource
	plaintext bool
}

// GetRequestMetadata is called by grpc for each call.
func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b.source(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "the source of bearer tokens failed: %v", err)
	}
	return map[string]string{"authorization": "Bearer " + strings.TrimSpace(token)}, nil
}

// RequireTransportSecurity makes grpc refuse plain text; where it was asked for, loopbackOnly guards.
func (b bearer) RequireTransportSecurity() bool { return !b.plaintext }

var errNeedsTLS = errors.New("bearer tokens are sent in plain text to loopback addresses only: leave out WithPlaintext")

// loopbackOnly is plain text that refuses connections to other machines, wherever a name led.
type loopbackOnly struct {
	credentials.TransportCredentials
}

func (l loopbackOnly) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	switch address := conn.RemoteAddr().(type) {
	case *net.TCPAddr:
		if !address.IP.IsLoopback() {
			return nil, nil, errNeedsTLS
		}
	case *net.UnixAddr:
	default:
		return nil, nil, errNeedsTLS
	}
	return l.TransportCredentials.ClientHandshake(ctx, authority, conn)
}

func (l loopbackOnly) Clone() credentials.TransportCredentials {
	return loopbackOnly{l.TransportCredentials.Clone()}
}

// checkLoopback refuses at once what loopbackOnly would refuse at each connection, where the target
// names an address.
func checkLoopback(target string) error {
	host := target[strings.LastIndex(target, "/")+1:]
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); ip != nil && !ip.IsLoopback() {
		return fmt.Errorf("target %q: %w", target, errNeedsTLS)
	}
	return nil
}
