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

// WithTLSFiles makes the Client connect with TLS by files in PEM. caFile has the authorities of the server's certificate
// (empty: the system's). certFile and keyFile have the client's certificate and key for mutual TLS (both empty: none). They
// are read again for each connection, so that a renewed certificate needs no restart. caFile is read once, by Dial.
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
			return config, fmt.Errorf("%s has no certificate in PEM", caFile)
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
	_, err := load(nil) // so that Dial returns the error of a wrong file
	return config, err
}

// TokenSource returns a bearer token that is valid now. Space around the token, such as the last line break of a file, is
// removed.
type TokenSource func(context.Context) (string, error)

// bearer adds the tokens of a TokenSource to calls.
type bearer struct {
	source    TokenSource
	plaintext bool
}

// GetRequestMetadata implements credentials.PerRPCCredentials. grpc calls it for each call.
func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b.source(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "the source of bearer tokens failed: %v", err)
	}
	return map[string]string{"authorization": "Bearer " + strings.TrimSpace(token)}, nil
}

// RequireTransportSecurity makes grpc refuse plain text. With WithPlaintext, loopbackOnly does so instead.
func (b bearer) RequireTransportSecurity() bool { return !b.plaintext }

var errNeedsTLS = errors.New("bearer tokens are sent in plain text to loopback addresses only: remove WithPlaintext")

// loopbackOnly is plain text that refuses connections to other machines, whatever address a name resolves to.
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

// checkLoopback returns an error for a target with an address that loopbackOnly would refuse.
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
