package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// identity is a self-signed certificate for loopback, which is also its authority.
type identity struct {
	cert, key string // files
	pair      tls.Certificate
	pool      *x509.CertPool
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	id := identity{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), pool: x509.NewCertPool()}
	id.write(t, der, secret)
	id.pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if id.pair, err = tls.LoadX509KeyPair(id.cert, id.key); err != nil {
		t.Fatal(err)
	}
	return id
}

func (id identity) write(t *testing.T, cert, key []byte) {
	t.Helper()
	for file, block := range map[string]*pem.Block{id.cert: {Type: "CERTIFICATE", Bytes: cert}, id.key: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// ask dials the server without clienttest and opens a watch, which does not wait for a connection as other calls do. It returns
// nil if the server answered.
func ask(t *testing.T, server *clienttest.Server, options ...client.Option) error {
	t.Helper()
	c, err := client.Dial(server.Target(), options...)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancelCause(within(t))
	defer cancel(nil)
	failed := client.OnInterruption(func(err error, _ time.Duration) { cancel(err) })
	for _, err := range c.Watch(ctx, client.Session("vs_1"), failed) {
		if err != nil {
			return context.Cause(ctx)
		}
		break
	}
	return nil
}

func TestTLSAndMutualTLS(t *testing.T) {
	leavesNothing(t)
	backend, caller, other := newIdentity(t), newIdentity(t), newIdentity(t)
	server := clienttest.New(t, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{backend.pair}, ClientCAs: caller.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	})))
	server.Set(session("vs_1", verified))
	if err := ask(t, server, client.WithTLSFiles(backend.cert, caller.cert, caller.key)); err != nil {
		t.Errorf("by files: %v", err)
	}
	if err := ask(t, server, client.WithTLS(&tls.Config{RootCAs: backend.pool, Certificates: []tls.Certificate{caller.pair}})); err != nil {
		t.Errorf("by configuration: %v", err)
	}
	for name, option := range map[string]client.Option{
		"another authority":  client.WithTLSFiles(other.cert, caller.cert, caller.key),
		"no certificate":     client.WithTLSFiles(backend.cert, "", ""),
		"another's":          client.WithTLSFiles(backend.cert, other.cert, other.key),
		"plain text":         client.WithPlaintext(),
		"system authorities": client.WithDialOptions(),
	} {
		if err := ask(t, server, option); !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("%s: %v; want no connection", name, err)
		}
	}
}

func TestARenewedCertificateIsReadAgain(t *testing.T) {
	leavesNothing(t)
	backend, first, renewed := newIdentity(t), newIdentity(t), newIdentity(t)
	seen := make(chan string, 1)
	server := clienttest.New(t, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{backend.pair}, ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(state tls.ConnectionState) error {
			seen <- state.PeerCertificates[0].SerialNumber.String()
			return nil
		},
	})))
	flip(server, "vs_1", 1)
	c, err := client.Dial(server.Target(), client.WithTLSFiles(backend.cert, first.cert, first.key), client.WithBackoff(time.Millisecond, time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for update, err := range c.Watch(within(t), client.Session("vs_1")) {
		if err != nil {
			t.Fatal(err)
		}
		var before string
		select {
		case before = <-seen:
		case <-time.After(soon):
			t.Fatal("no certificate was seen")
		}
		if update.Verification.GetRevision() == 2 {
			if want := renewed.pair.Leaf.SerialNumber.String(); before != want {
				t.Errorf("the second connection had certificate %s; want %s", before, want)
			}
			break
		}
		secret, err := x509.MarshalPKCS8PrivateKey(renewed.pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		first.write(t, renewed.pair.Certificate[0], secret)
		server.Stop()
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		flip(server, "vs_1", 2)
	}
}

// headers collects the authorization that calls came with.
func headers() (*sync.Map, grpc.ServerOption) {
	var seen sync.Map
	return &seen, grpc.StreamInterceptor(func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		seen.Store(info.FullMethod+" "+strings.Join(md.Get("authorization"), "|"), true)
		return handler(server, stream)
	})
}

func TestBearerToken(t *testing.T) {
	leavesNothing(t)
	id := newIdentity(t)
	token := func(context.Context) (string, error) { return " s3cret\n", nil }
	for name, transport := range map[string][]any{
		"TLS":      {client.WithTLSFiles(id.cert, "", ""), grpc.Creds(credentials.NewServerTLSFromCert(&id.pair))},
		"loopback": {client.WithPlaintext(), grpc.EmptyServerOption{}},
	} {
		seen, record := headers()
		server := clienttest.New(t, record, transport[1].(grpc.ServerOption))
		server.Set(session("vs_1", verified))
		if err := ask(t, server, transport[0].(client.Option), client.WithBearerToken(token)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, method := range []string{verificationv1.VerificationService_WatchStatus_FullMethodName, healthpb.Health_Watch_FullMethodName} {
			if _, ok := seen.Load(method + " Bearer s3cret"); !ok {
				t.Errorf("%s: the token did not arrive with %s", name, method)
			}
		}
	}
}

func TestABearerTokenStaysOnTheMachine(t *testing.T) {
	seen, record := headers()
	leavesNothing(t)
	server := clienttest.New(t, record)
	asked := func(context.Context) (string, error) { return "s3cret", nil }
	for _, target := range []string{"192.0.2.1:50051", "dns:///192.0.2.1:50051", "[2001:db8::1]:50051", "192.0.2.1"} {
		if _, err := client.Dial(target, client.WithPlaintext(), client.WithBearerToken(asked)); err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v", target, err)
		}
	}
	// The name resolves to another machine: the connection is refused.
	elsewhere := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", server.Target())
		return strangeConn{conn}, err
	})
	err := ask(t, server, client.WithPlaintext(), client.WithBearerToken(asked), client.WithDialOptions(elsewhere))
	if err == nil || !strings.Contains(err.Error(), "remove WithPlaintext") {
		t.Errorf("a connection to another machine: %v", err)
	}
	seen.Range(func(header, _ any) bool { t.Errorf("%q left the machine", header); return true })
}

// strangeConn has the address of another machine.
type strangeConn struct{ net.Conn }

func (strangeConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50051}
}

func TestATokenSourceThatFailsIsAskedAgain(t *testing.T) {
	server := newServer(t)
	server.Set(session("vs_1", verified))
	var asked atomic.Int32
	c := server.Client(client.WithBearerToken(func(context.Context) (string, error) {
		if asked.Add(1) < 3 {
			return "", errors.New("the token service is unavailable")
		}
		return "s3cret", nil
	}))
	for update, err := range c.Watch(within(t), client.Session("vs_1")) {
		if err != nil || update.Verification.GetStatus() != verified {
			t.Errorf("%v, %v", update, err)
		}
		break
	}
}

func TestDialNamesEveryProblem(t *testing.T) {
	_, err := client.Dial("127.0.0.1:1", client.WithPlaintext(), client.WithTLSFiles("/does/not/exist", "", ""), client.WithBackoff(0, 0))
	for _, want := range []string{"WithPlaintext contradicts", "/does/not/exist", "WithBackoff"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %s", err, want)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][3]string{{empty, "", ""}, {"", empty, empty}, {"", "", "/only/a/key"}} {
		if _, err := client.Dial("127.0.0.1:1", client.WithTLSFiles(files[0], files[1], files[2])); err == nil {
			t.Errorf("%q were taken", files)
		}
	}
}
