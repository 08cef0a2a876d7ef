package redisstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
)

// certificate makes a self-signed certificate for 127.0.0.1 and writes both parts for a server. It returns the pool
// that trusts it.
func certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, // nodes of a Cluster are both
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "redis.crt"), filepath.Join(dir, "redis.key")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := errors.Join(os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, keyPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, roots
}

// TestTLSWithAnACLUser: the server speaks TLS, and the user may do only what is necessary. Reads, writes, the client
// of Follow and the wait for replicas work.
func TestTLSWithAnACLUser(t *testing.T) {
	certFile, keyFile, roots := certificate(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	listener.Close()
	server := redistest.Start(t, "--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", certFile, "--tls-auth-clients", "no")
	allow(server, ACLCommands(Standalone))
	options := Options{Addrs: []string{addr}, Credentials: credentials("vs", "swordfish"), FeedMaxAge: time.Minute}

	options.TLS = func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots} }
	s := openStore(t, options)
	if err := exercise(testContext(t), s); err != nil {
		t.Errorf("with the CA: %v", err)
	}
	tests := map[string]*tls.Config{
		"without TLS":    nil,
		"without the CA": {MinVersion: tls.VersionTLS12},
		"as another":     {MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "redis.example"},
	}
	for name, config := range tests {
		options.TLS = nil
		if config != nil {
			options.TLS = func() *tls.Config { return config }
		}
		if err := openStore(t, options).Prepare(testContext(t)); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v; want ErrUnavailable", name, err)
		}
	}
}

// TestCredentialsAndAuthoritiesChange: credentials and authorities can change while the store is open. After a change
// every new connection uses the new ones, and a server that accepts only those is served.
func TestCredentialsAndAuthoritiesChange(t *testing.T) {
	oldCert, oldKey, oldRoots := certificate(t)
	newCert, newKey, newRoots := certificate(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	listener.Close()
	server := redistest.Start(t, "--tls-port", port, "--tls-cert-file", oldCert, "--tls-key-file", oldKey, "--tls-ca-cert-file", oldCert, "--tls-auth-clients", "no")
	admin := rawClient(t, server.Addr)
	do := func(args ...any) {
		t.Helper()
		if err := admin.Do(testContext(t), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	do("ACL", "SETUSER", "vs", "on", ">oldpass", "~*", "+@all")

	var password atomic.Pointer[string]
	var roots atomic.Pointer[x509.CertPool]
	use := func(text string, pool *x509.CertPool) {
		password.Store(&text)
		roots.Store(pool)
	}
	use("oldpass", oldRoots)
	s := openStore(t, Options{
		Addrs:       []string{addr},
		Credentials: func() (string, string) { return "vs", *password.Load() },
		TLS:         func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots.Load()} },
	})
	ping := func() error {
		ctx, cancel := context.WithTimeout(testContext(t), 5*time.Second)
		defer cancel()
		return s.Ping(ctx)
	}
	if err := ping(); err != nil {
		t.Fatal(err)
	}
	do("ACL", "SETUSER", "vs", "resetpass", ">newpass")
	do("CONFIG", "SET", "tls-cert-file", newCert, "tls-key-file", newKey)
	if err := ping(); err != nil {
		t.Errorf("the open connection: %v", err)
	}
	do("CLIENT", "KILL", "USER", "vs")
	for name, change := range map[string]func(){
		"the old of both":                      func() {},
		"the new authorities and old password": func() { use("oldpass", newRoots) },
		"the new password and old authorities": func() { use("newpass", oldRoots) },
	} {
		change()
		if err := ping(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v; want ErrUnavailable", name, err)
		}
	}
	use("newpass", newRoots)
	if err := ping(); err != nil {
		t.Errorf("the new of both: %v", err)
	}
}
