//go:build load

package load

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"example.com/verification-status/server/internal/access"
	"example.com/verification-status/server/tests/rig"
)

// manifest is what the Deployment gives its container.
type manifest struct {
	env   []string // with files and addresses of this machine
	limit int64    // of memory, in bytes
}

// readManifest reads the Deployment. Its files are those of dir, and its addresses are free ports.
func readManifest(t *testing.T, dir string) manifest {
	t.Helper()
	text, err := os.ReadFile(rig.Path("server", "deploy", "kubernetes", "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var deployment struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Env       []struct{ Name, Value string }
						Resources struct{ Limits struct{ Memory string } }
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &deployment); err != nil {
		t.Fatal(err)
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	m := manifest{limit: bytesOf(t, container.Resources.Limits.Memory)}
	for _, e := range container.Env {
		switch {
		case strings.HasSuffix(e.Name, "_ADDR"):
			e.Value = "127.0.0.1:0"
		case strings.HasSuffix(e.Name, "_FILE"):
			e.Value = filepath.Join(dir, filepath.Base(e.Value))
		}
		m.env = append(m.env, e.Name+"="+e.Value)
	}
	return m
}

// bytesOf reads a quantity of memory, such as 1Gi.
func bytesOf(t *testing.T, quantity string) int64 {
	t.Helper()
	for suffix, factor := range map[string]int64{"Mi": 1 << 20, "Gi": 1 << 30} {
		if number, ok := strings.CutSuffix(quantity, suffix); ok {
			n, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n * factor
		}
	}
	t.Fatalf("the limit of memory is %q; this test knows Mi and Gi", quantity)
	return 0
}

// writeSecrets writes the files of the manifest's volume, with a token for each name.
func writeSecrets(t *testing.T, dir, redis string, names ...string) (tokens []string) {
	t.Helper()
	var lines strings.Builder
	for _, name := range names {
		token, line, err := access.NewToken(name, []access.Right{access.RightRead})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
		lines.WriteString(line.String() + "\n")
	}
	certificate, key := newCertificate(t)
	for name, text := range map[string]string{
		"tokens": lines.String(), "redis-url": "redis://" + redis, "stripe-api-key": rig.APIKey,
		"stripe-webhook-secret": rig.WebhookSecret, "tls.crt": certificate, "tls.key": key,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tokens
}

// newCertificate returns a certificate of 127.0.0.1 that is its own authority, and its key.
func newCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs8)
}
