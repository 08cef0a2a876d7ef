package npm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// writeCertificate writes a certificate for 127.0.0.1 and its key. It is its own authority.
func writeCertificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// secureServers are two servers over one Redis, with TLS and a token. They know a session of user-42.
type secureServers struct {
	addresses                   [2]string
	certificate, key, tokenFile string
}

func startSecureServers(t *testing.T) secureServers {
	t.Helper()
	dir, redis := t.TempDir(), redistest.Start(t)
	s := secureServers{certificate: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), tokenFile: filepath.Join(dir, "token")}
	writeCertificate(t, s.certificate, s.key)
	tokens, token := rig.TokensFile(t)
	if err := os.WriteFile(s.tokenFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range s.addresses {
		p := rig.Serve(t, rig.Settings(redis.Addr, "GRPC_TLS_CERT_FILE="+s.certificate, "GRPC_TLS_KEY_FILE="+s.key, tokens))
		s.addresses[i] = p.GRPC
		if i == 0 {
			event := rig.Tries("vs_Secure", 1)[0]
			event.Body = bytes.Replace(event.Body, []byte(`"client_reference_id":null`), []byte(`"client_reference_id":"user-42"`), 1)
			rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, event)
		}
	}
	return s
}

// replaced returns the texts of src/connect.ts that have other values here.
func (s secureServers) replaced() []string {
	return []string{
		"status-a.example.com:50051", s.addresses[0], "status-b.example.com:50051", s.addresses[1],
		"ca.pem", s.certificate, "client.pem", s.certificate, "client.key", s.key, "/run/secrets/token", s.tokenFile,
	}
}

// connectsSecurely runs src/connect.ts.
func (r *examplesRig) connectsSecurely() {
	r.t.Helper()
	p := r.run("connect")
	if code := p.Exit(rig.Soon); code != 0 || !strings.Contains(p.Stdout.String(), "vs_Secure") {
		r.t.Errorf("src/connect.ts ended with %d and wrote %s%s", code, p.Stdout.String(), rig.Tail(p.Stderr.String()))
	}
}
