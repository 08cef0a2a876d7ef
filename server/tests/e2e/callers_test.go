package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// certificate makes a certificate and its key; without a signer it is an authority of its own.
func certificate(t *testing.T, signer *tls.Certificate, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: signer == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	change(template)
	parent, parentKey := template, any(key)
	if signer != nil {
		parent, parentKey = signer.Leaf, signer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// writeFile writes a file for the server, and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pemOf(t *testing.T, c *tls.Certificate) (chain, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", c.Certificate[0]), encode("PRIVATE KEY", der)
}

// newToken runs the command that makes one, and returns the token and its line.
func newToken(t *testing.T, name, rights string) (token, line string) {
	t.Helper()
	p := rig.Launch(t, nil, "token", "new", "--name", name, "--rights", rights)
	if code := p.Exit(rig.Soon); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.Stderr.String())
	}
	for text := range strings.Lines(p.Stdout.String()) {
		text = strings.TrimSpace(text)
		if strings.HasPrefix(text, "vst_") {
			token = text
		}
		if strings.HasPrefix(text, name+" ") {
			line = text
		}
	}
	if token == "" || line == "" || strings.Contains(line, token) {
		t.Fatalf("it printed %s", p.Stdout.String())
	}
	return token, line + "\n"
}

// readmePolicy is the documented example.
func readmePolicy(t *testing.T) string {
	t.Helper()
	return document.Code(t, "server/docs/access.md", "policy")
}

// securedServer is a server with TLS, the README's policy and two tokens.
type securedServer struct {
	*rig.Process
	t      *testing.T
	ca     *tls.Certificate
	tokens string // the file
}

func serveSecured(t *testing.T, stripe *rig.FakeStripe, lines string) *securedServer {
	t.Helper()
	ca := certificate(t, nil, func(*x509.Certificate) {})
	own := certificate(t, ca, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	authority, _ := pemOf(t, ca)
	chain, key := pemOf(t, own)
	g := &securedServer{t: t, ca: ca, tokens: writeFile(t, "tokens", lines)}
	g.Process = rig.Serve(t, stripe.Settings(redistest.Start(t).Addr,
		"GRPC_TLS_CERT_FILE="+writeFile(t, "tls.crt", chain), "GRPC_TLS_KEY_FILE="+writeFile(t, "tls.key", key),
		"GRPC_CLIENT_CA_FILE="+writeFile(t, "ca.crt", authority), "GRPC_AUTHZ_POLICY_FILE="+writeFile(t, "policy.json", readmePolicy(t)),
		"GRPC_TOKENS_FILE="+g.tokens, "CALLER_RATE=1000", "CALLER_MAX_STREAMS=1"))
	stripe.SendTo(g.Process)
	return g
}

// dial connects with a client certificate with this SPIFFE id. Without an id it shows no certificate.
func (g *securedServer) dial(id string) *grpc.ClientConn {
	g.t.Helper()
	trusted := x509.NewCertPool()
	trusted.AddCert(g.ca.Leaf)
	config := &tls.Config{RootCAs: trusted}
	if id != "" {
		parsed, err := url.Parse(id)
		if err != nil {
			g.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{*certificate(g.t, g.ca, func(c *x509.Certificate) { c.URIs = []*url.URL{parsed} })}
	}
	conn, err := grpc.NewClient(g.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestCallersHaveNamesAndRights, through the whole server: the documented policy and the tokens of its command decide. The
// record and the log name the caller that got a retry.
func TestCallersHaveNamesAndRights(t *testing.T) {
	const bff, tester = "spiffe://example.org/web/bff", "spiffe://example.org/web/test-1"
	reading, readingLine := newToken(t, "reports", "read")
	retrying, retryingLine := newToken(t, "desk", "read,retry")
	stripe := rig.StartFakeStripe(t)
	g := serveSecured(t, stripe, readingLine+retryingLine)
	one, two := stripe.NewSession("person-1"), stripe.NewSession("person-2")
	stripe.SubmitAndFinish(one, "document_expired")
	stripe.SubmitAndFinish(two, "document_expired")

	ctx := rig.Within(t, rig.Soon)
	tokened := func(token string) metadata.MD { return metadata.Pairs("authorization", "Bearer "+token) }
	nobody := verificationv1.NewVerificationServiceClient(g.dial(""))
	for _, id := range []string{one, "vs_unheardof"} {
		_, err := nobody.GetStatus(ctx, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}})
		rig.WantError(t, err, codes.Unauthenticated, verificationv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED)
		request := &verificationv1.RetryVerificationRequest{SessionId: id}
		_, err = nobody.RetryVerification(metadata.NewOutgoingContext(ctx, tokened(reading)), request)
		rig.WantError(t, err, codes.PermissionDenied, verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED)
		_, err = verificationv1.NewVerificationServiceClient(g.dial(tester)).RetryVerification(ctx, request)
		rig.WantError(t, err, codes.PermissionDenied, verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED)
	}
	if health, err := healthpb.NewHealthClient(g.dial("")).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health without credentials: %v, %v", health, err)
	}

	web := verificationv1.NewVerificationServiceClient(g.dial(bff))
	rig.MustRetry(t, web, &verificationv1.RetryVerificationRequest{SessionId: one})
	if _, err := nobody.RetryVerification(metadata.NewOutgoingContext(ctx, tokened(retrying)), &verificationv1.RetryVerificationRequest{SessionId: two}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{one: bff, two: "token:desk"} {
		history := rig.GetStatus(t, web, id).GetHistory()
		if last := history[len(history)-1]; last.GetPrincipal() != want {
			t.Errorf("the record says %v, want %s", last, want)
		}
		if !strings.Contains(g.Stderr.String(), `"session_id":"`+id+`","retries_granted":1,"asked_for":"`+id+`","principal":"`+want+`"`) {
			t.Errorf("the log does not say that %s was granted a retry", want)
		}
	}

	stream, err := web.WatchStatus(ctx, rig.WatchSessionRequest(one, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	second, err := web.WatchStatus(ctx, rig.WatchSessionRequest(one, ""))
	if err == nil {
		_, err = second.Recv()
	}
	rig.WantError(t, err, codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS)
	all, err := web.WatchStatus(ctx, rig.WatchAllRequest(""))
	if err == nil {
		_, err = all.Recv()
	}
	rig.WantError(t, err, codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS)
	counted := scrape(t, rig.NewHTTPClient(t), g.Process)
	for reason, want := range map[string]float64{"UNAUTHENTICATED": 2, "PERMISSION_DENIED": 4} {
		if got := counted[`verification_calls_refused_total{reason="ERROR_REASON_`+reason+`"}`]; got != want {
			t.Errorf("%v calls were refused as %s, want %v", got, reason, want)
		}
	}
	if got := counted[`verification_shed_total{limit="CALLER_MAX_STREAMS",what="WatchStatus"}`]; got != 2 {
		t.Errorf("%v streams were one too many, want 2", got)
	}
	if log := g.Stderr.String(); strings.Count(log, `"setting":"CALLER_MAX_STREAMS","what":"WatchStatus","refused":1,"principal":"`+bff+`","request_id":`) != 1 {
		t.Errorf("no warning of it, or several:\n%s", log)
	}
	for _, secret := range []string{reading, retrying} {
		if strings.Contains(g.Stderr.String()+g.Stdout.String(), secret) {
			t.Error("a token is in the log")
		}
	}
}

// TestServeNamesTheFaultOfTheAccessSettings, with the settings and the files at once.
func TestServeNamesTheFaultOfTheAccessSettings(t *testing.T) {
	p := rig.Launch(t, rig.Settings("127.0.0.1:1", "GRPC_TLS_CERT_FILE="+writeFile(t, "crt", "planted"), "GRPC_TLS_KEY_FILE=/nowhere/key", "GRPC_CLIENT_CA_FILE="+writeFile(t, "ca", ""),
		"GRPC_AUTHZ_POLICY_FILE="+writeFile(t, "policy", "{}"), "GRPC_TOKENS_FILE="+writeFile(t, "tokens", "planted planted planted"), "MAX_RETRIES=many"), "serve")
	if code := p.Exit(rig.Soon); code == 0 {
		t.Error("exit code 0")
	}
	text := p.Stderr.String()
	for _, setting := range []string{"GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE: ", "GRPC_CLIENT_CA_FILE: ", "GRPC_AUTHZ_POLICY_FILE: ", "GRPC_TOKENS_FILE: ", "MAX_RETRIES "} {
		if strings.Count(text, "\n"+setting) != 1 {
			t.Errorf("not one line for %s:\n%s", setting, text)
		}
	}
	if strings.Contains(text, "planted") {
		t.Errorf("it quotes a file:\n%s", text)
	}
}

// TestTokenNewRefuses names and rights that the server would not read.
func TestTokenNewRefuses(t *testing.T) {
	for _, args := range [][]string{{"--name", "a b", "--rights", "read"}, {"--name", "a", "--rights", "write"}, {"--name", "a"}, {"--rights", "read"}} {
		p := rig.Launch(t, nil, append([]string{"token", "new"}, args...)...)
		if code := p.Exit(rig.Soon); code == 0 || p.Stdout.String() != "" || p.Stderr.String() == "" {
			t.Errorf("%v: exit code %d, %s%s", args, code, p.Stdout.String(), p.Stderr.String())
		}
	}
}

// TestRetryWithoutReadShowsWhatTheContractSays: a caller without the right to read sees the successor's id and nothing of
// the person.
func TestRetryWithoutReadShowsWhatTheContractSays(t *testing.T) {
	retrier, retrierLine := newToken(t, "desk", "retry")
	both, bothLine := newToken(t, "web", "read,retry")
	p := newTwoReplicas(t, "GRPC_TOKENS_FILE="+writeFile(t, "tokens", retrierLine+bothLine))
	id := p.stripe.NewSession("person-PlantedReference")
	p.stripe.SubmitAndFinish(id, "document_expired")
	call := func(token string) *verificationv1.Verification {
		ctx := metadata.AppendToOutgoingContext(rig.Within(t, rig.Soon), "authorization", "Bearer "+token)
		response, err := p.clients[0].RetryVerification(ctx, &verificationv1.RetryVerificationRequest{SessionId: id})
		if err != nil || response.GetUrl() == "" || response.GetClientSecret() == "" {
			t.Fatalf("no link: %v", err)
		}
		return response.GetVerification()
	}
	whole := call(both)
	if whole.GetClientReferenceId() != "person-PlantedReference" || whole.GetLastError().GetReason() == "" || whole.GetRevision() == 0 {
		t.Errorf("a caller that may read sees %v", whole)
	}
	want := &verificationv1.Verification{SessionId: id, Status: whole.GetStatus(), Retry: whole.GetRetry()}
	if got := call(retrier); !proto.Equal(got, want) {
		t.Errorf("a caller that may not read sees %v, want %v", got, want)
	}
}
