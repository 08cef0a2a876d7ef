package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
)

// certificate makes a server's certificate and the authority that issues it.
func certificate(t *testing.T) (certPEM, keyPEM []byte, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "verification-status"}, DNSNames: []string{"verification-status"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return certPEM, keyPEM, roots
}

// TestServerStartsAsTheManifestsSay: with only the Deployment's variables and the secrets' files, the server becomes ready, speaks
// TLS, and refuses callers without a token. The test replaces only the ports, by free ones.
func TestServerStartsAsTheManifestsSay(t *testing.T) {
	if testing.Short() {
		t.Skip("it links the server; without -short: go test -count=1 ./server/deploy")
	}
	m := readManifests(t)
	redis, secrets := redistest.Start(t), t.TempDir()
	certPEM, keyPEM, roots := certificate(t)
	for name, content := range map[string]string{
		"redis-url": "redis://" + redis.Addr + "\n", "stripe-api-key": "sk_test_0123456789abcdef\n",
		"stripe-webhook-secret": webhookSecret + "\n", "tokens": "# nobody yet\n", "tls.crt": string(certPEM), "tls.key": string(keyPEM),
	} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Port 9 refuses connections: the test needs no Stripe.
	env := []string{"STRIPE_API_BASE=http://127.0.0.1:9"}
	for _, variable := range m.server.Env {
		value := variable.Value
		if strings.HasSuffix(variable.Name, "_FILE") {
			value = filepath.Join(secrets, path.Base(value))
		} else if strings.HasSuffix(variable.Name, "_ADDR") {
			value = "127.0.0.1:0"
		}
		env = append(env, variable.Name+"="+value)
	}
	program := filepath.Join(t.TempDir(), "server")
	shipped(t, program)
	cmd := exec.Command(program, m.server.Args...)
	cmd.Env = env
	r := start(t, cmd)
	await(t, "it is ready", func() bool { code, _ := r.ready(t); return code == http.StatusOK })

	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "verification-status"})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = verificationv1.NewVerificationServiceClient(conn).GetStatus(t.Context(), &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_1"},
	})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("a call over TLS without a token: %v; want UNAUTHENTICATED", err)
	}
}
