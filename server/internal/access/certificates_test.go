package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for one test.
type authority struct {
	t           testing.TB
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
	a.certificate = a.sign(template, template, a.key)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificate
}

// pem returns the authority's own certificate.
func (a *authority) pem() string { return encodePEM("CERTIFICATE", a.certificate.Raw) }

// pool returns a pool with the authority.
func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// issue returns a certificate in PEM. change can alter it before it is signed.
func (a *authority) issue(change func(*x509.Certificate)) (certificate, key string) {
	a.t.Helper()
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(100 + a.serial), Subject: pkix.Name{CommonName: "a leaf"},
		KeyUsage:  x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	change(template)
	leafKey := newKey(a.t)
	leaf := a.sign(template, a.certificate, leafKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return encodePEM("CERTIFICATE", leaf.Raw), encodePEM("PRIVATE KEY", der)
}

// server returns the certificate of a server on loopback.
func (a *authority) server() (certificate, key string) {
	return a.issue(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
}

// client returns the certificate of a client.
func (a *authority) client(change func(*x509.Certificate)) *tls.Certificate {
	a.t.Helper()
	certificate, key := a.issue(change)
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		a.t.Fatal(err)
	}
	return &pair
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// spiffe sets the URI of a certificate, such as a SPIFFE id.
func spiffe(t testing.TB, ids ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, id := range ids {
			parsed, err := url.Parse(id)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, parsed)
		}
	}
}

// dns sets the DNS names of a certificate.
func dns(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// TestAuthoritiesAreReadWhole: a file with one bad certificate is refused.
func TestAuthoritiesAreReadWhole(t *testing.T) {
	one, two := newAuthority(t, "one").pem(), newAuthority(t, "two").pem()
	_, key := newAuthority(t, "three").server()
	for name, text := range map[string]string{
		"one": one, "both": one + two, "words between them": "# one\n" + one + "\n# two\r\n" + two + "# the end", "a key beside it": one + key,
	} {
		if _, err := authorities([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "no certificate": key, "a cut": one[:len(one)/2], "a cut in the second": one + two[:len(two)/2],
		"the first garbled": strings.Replace(one, "\nM", "\n!", 1) + two, "the second garbled": one + strings.Replace(two, "\nM", "\nN", 1),
		"the second without its end": one + strings.TrimSuffix(two, "-----END CERTIFICATE-----\n"),
	} {
		if _, err := authorities([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
