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

// ContextWithToken returns a context whose calls send this token in place of that of [WithBearerToken]. A program that acts for
// people uses it to send the person's own token, so that the service's history and log name the person. Space around the token is
// removed.
//
// A call with an empty token, or one that is no header's value, fails with [ErrUnauthenticated]: it never sends the token of
// WithBearerToken instead. So does a call in plain text, unless the Client has WithBearerToken and so connects to loopback
// addresses only.
func ContextWithToken(ctx context.Context, token string) context.Context {
	return context.WithValue(ctx, tokenKey{}, token)
}

type tokenKey struct{}

// bearer adds the tokens of contexts and of a TokenSource to calls.
type bearer struct {
	source    TokenSource // nil: none
	plaintext bool
}

// GetRequestMetadata implements credentials.PerRPCCredentials. grpc calls it for each call.
func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, own := ctx.Value(tokenKey{}).(string)
	switch {
	case own:
		if err := b.check(ctx, strings.TrimSpace(token)); err != nil {
			return nil, err
		}
	case b.source == nil:
		return nil, nil
	default:
		var err error
		if token, err = b.source(ctx); err != nil {
			return nil, status.Errorf(codes.Unavailable, "the source of bearer tokens failed: %v", err)
		}
	}
	return map[string]string{"authorization": "Bearer " + strings.TrimSpace(token)}, nil
}

// check returns an error for a token of a context that must not be sent. It does not quote the token.
func (b bearer) check(ctx context.Context, token string) error {
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return status.Error(codes.Unauthenticated, "the token of the call is empty, or has characters that no token has")
	}
	if b.source != nil {
		return nil // grpc or loopbackOnly has checked the connection
	}
	info, _ := credentials.RequestInfoFromContext(ctx)
	if err := credentials.CheckSecurityLevel(info.AuthInfo, credentials.PrivacyAndIntegrity); err != nil {
		return status.Error(codes.Unauthenticated, "the token of the call is not sent in plain text: remove WithPlaintext")
	}
	return nil
}

// RequireTransportSecurity makes grpc refuse plain text. With WithPlaintext, loopbackOnly does so instead.
func (b bearer) RequireTransportSecurity() bool { return b.source != nil && !b.plaintext }

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
