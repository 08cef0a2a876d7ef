package redisstore

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
)

// tlsRedis starts a Redis with one port for plain text and one for TLS.
func tlsRedis(t *testing.T, args ...string) (plain, secured string) {
	t.Helper()
	certFile, keyFile, _ := certificate(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secured = listener.Addr().String()
	_, port, _ := net.SplitHostPort(secured)
	_ = listener.Close()
	server := redistest.Start(t, append([]string{"--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", certFile}, args...)...)
	return server.Addr, secured
}

// TestG17_AWrongURLIsSaidWithItsCorrection: each of these mistakes ends in a timeout, an end of file or an answer
// that cannot be parsed. The error must say in one sentence what to change.
func TestG17_AWrongURLIsSaidWithItsCorrection(t *testing.T) {
	plain, secured := tlsRedis(t, "--tls-auth-clients", "no")
	_, mutual := tlsRedis(t)
	locked := redistest.Start(t, "--requirepass", "planted-right").Addr
	httpServer, httpsServer := httptest.NewServer(http.NotFoundHandler()), httptest.NewUnstartedServer(http.NotFoundHandler())
	httpsServer.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of each handshake
	httpsServer.StartTLS()
	t.Cleanup(httpServer.Close)
	t.Cleanup(httpsServer.Close)
	anyTLS := func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for _, test := range []struct {
		name    string
		options Options
		want    string
	}{
		{"TLS to a port without", Options{Addrs: []string{plain}, TLS: anyTLS}, "does not speak TLS at this port: begin REDIS_URL with redis://"},
		{"TLS to a port without that wants a password", Options{Addrs: []string{locked}, TLS: anyTLS}, "does not speak TLS at this port: begin REDIS_URL with redis://"},
		{"no TLS to a port with it", Options{Addrs: []string{secured}}, "speaks TLS: begin REDIS_URL with rediss://"},
		{"no TLS to a port that wants a certificate too", Options{Addrs: []string{mutual}}, "speaks TLS: begin REDIS_URL with rediss://"},
		{"a certificate of an unknown authority", Options{Addrs: []string{secured}, TLS: anyTLS}, "name its PEM file in REDIS_CA_FILE"},
		{"an HTTP port", Options{Addrs: []string{httpServer.Listener.Addr().String()}}, "an HTTP server answers"},
		{"an HTTP port, with TLS", Options{Addrs: []string{httpServer.Listener.Addr().String()}, TLS: anyTLS}, "an HTTP server answers"},
		{"an HTTPS port", Options{Addrs: []string{httpsServer.Listener.Addr().String()}}, "speaks TLS: begin REDIS_URL with rediss://"},
		{"no password", Options{Addrs: []string{locked}}, "Redis wants a password and was given none: write it into REDIS_URL"},
		{"a wrong password", Options{Addrs: []string{locked}, Credentials: credentials("", "planted-wrong")}, "correct the user and password in REDIS_URL"},
		{"a wrong user", Options{Addrs: []string{locked}, Credentials: credentials("nobody", "planted-right")}, "correct the user and password in REDIS_URL"},
		{"an HTTPS port, with TLS", Options{Addrs: []string{httpsServer.Listener.Addr().String()}, TLS: func() *tls.Config {
			return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: httpsServer.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
		}}, "an HTTP server answers"},
		{"nothing listens", Options{Addrs: []string{gone.Addr().String()}}, "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t, test.options)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // that of the first check
			defer cancel()
			err := s.Prepare(ctx)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), ErrMisconfigured.Error()) {
				t.Errorf("it says what it should not: %v", err)
			}
			t.Log(err)
		})
	}
}
