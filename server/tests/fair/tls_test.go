package fair

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// authority signs the certificates of one fairRig.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	dir, file   string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	var path string
	a.certificate, a.key, path = a.issue(t, "ca", func(c *x509.Certificate) { c.IsCA = true })
	a.file = path + ".crt"
	return a
}

// issue makes a certificate and writes it and its key as path.crt and path.key.
func (a *authority) issue(t *testing.T, name string, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	change(template)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(a.dir, name)
	for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path+file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return made, key, path
}

// client is the TLS configuration of a client without a certificate.
func (a *authority) client() *tls.Config {
	trusted := x509.NewCertPool()
	trusted.AddCert(a.certificate)
	return &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
}

// sidecar lets the example BFF, which speaks plain text on loopback, call a server that wants a client
// certificate: it forwards each connection over TLS, as the proxy of a mesh does.
func (a *authority) sidecar(t *testing.T, server, spiffe string) (addr string) {
	t.Helper()
	id, err := url.Parse(spiffe)
	if err != nil {
		t.Fatal(err)
	}
	_, _, path := a.issue(t, "sidecar", func(c *x509.Certificate) { c.URIs = []*url.URL{id} })
	pair, err := tls.LoadX509KeyPair(path+".crt", path+".key")
	if err != nil {
		t.Fatal(err)
	}
	config := a.client()
	config.Certificates, config.NextProtos = []tls.Certificate{pair}, []string{"h2"}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		open    = map[net.Conn]bool{}
		closed  bool
	)
	keep := func(conn net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		if closed {
			_ = conn.Close()
		}
		open[conn] = true
		return !closed
	}
	running.Go(func() {
		for {
			plain, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer plain.Close()
				secure, err := tls.DialWithDialer(&net.Dialer{Timeout: soon}, "tcp", server, config)
				if err != nil {
					return
				}
				defer secure.Close()
				if !keep(plain) || !keep(secure) {
					return
				}
				running.Go(func() {
					_, _ = io.Copy(secure, plain)
					_ = secure.Close()
				})
				_, _ = io.Copy(plain, secure)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		closed = true
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return listener.Addr().String()
}
