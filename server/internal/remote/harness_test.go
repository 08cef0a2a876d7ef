package remote

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// fakeFeed is the server: it answers with consumers or err, and keeps what it was sent.
type fakeFeed struct {
	verificationv1.UnimplementedFeedServiceServer
	consumers []*verificationv1.Consumer
	err       error
	silent    bool // never answer

	authorization []string
	deleted       string
}

func (f *fakeFeed) ListConsumers(ctx context.Context, _ *verificationv1.ListConsumersRequest) (*verificationv1.ListConsumersResponse, error) {
	if f.silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f.note(ctx)
	return &verificationv1.ListConsumersResponse{Consumers: f.consumers}, f.err
}

func (f *fakeFeed) DeleteConsumer(ctx context.Context, request *verificationv1.DeleteConsumerRequest) (*verificationv1.DeleteConsumerResponse, error) {
	f.note(ctx)
	f.deleted = request.GetConsumer()
	return &verificationv1.DeleteConsumerResponse{}, f.err
}

func (f *fakeFeed) note(ctx context.Context) {
	sent, _ := metadata.FromIncomingContext(ctx)
	f.authorization = sent.Get("authorization")
}

// serve runs a server until the test ends. settings can be nil: without TLS. service can be nil: a server without FeedService.
func serve(t *testing.T, settings *tls.Config, service verificationv1.FeedServiceServer) (addr string) {
	t.Helper()
	return serveAll(t, settings, func(server *grpc.Server) {
		if service != nil {
			verificationv1.RegisterFeedServiceServer(server, service)
		}
	})
}

// serveAll is serve for the services that register registers.
func serveAll(t *testing.T, settings *tls.Config, register func(*grpc.Server)) (addr string) {
	t.Helper()
	var options []grpc.ServerOption
	if settings != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(settings)))
	}
	server := grpc.NewServer(options...)
	register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return listener.Addr().String()
}

// identity is a certificate that is its own authority, for the name server.test.
type identity struct {
	pair              tls.Certificate
	pool              *x509.CertPool
	certFile, keyFile string
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"server.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	pair, err := tls.X509KeyPair(cert, secret)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return identity{pair, pool, writeFile(t, "cert.pem", string(cert)), writeFile(t, "key.pem", string(secret))}
}

func writeFile(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
