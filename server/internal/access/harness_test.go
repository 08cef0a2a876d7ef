package access

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/emptypb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/grpcserver"
	"example.com/verification-status/server/internal/reload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds every wait of these tests.
const testTimeout = 20 * time.Second

// methods are the unary methods of the contract. The services here give all of them the same answer: only access is under test.
var (
	methods     = []string{"GetStatus", "RetryVerification", "ListVerifications"}
	feedMethods = []string{"AcknowledgeChanges", "ListConsumers", "DeleteConsumer"}
)

// bench is a served Access with its files and authorities.
type bench struct {
	*Access
	t         testing.TB
	files     *reload.Watcher
	server    *grpcserver.Server
	dir       string
	addr      string
	servers   *authority // of the server's certificate
	clients   *authority // of client certificates
	log       *lines
	logger    *slog.Logger                                  // writes there
	reached   atomic.Int64                                  // requests that came to a handler
	principal atomic.Value                                  // of the last one
	watch     func(stream grpc.ServerStream) error          // what a watch does after its request
	observed  sync.Map                                      // reason → true
	shed      sync.Map                                      // method and setting → true
	answer    func(context.Context) (*emptypb.Empty, error) // of unary calls; nil: at once
}

// lines is a log that can be written and read at the same time.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const policyText = `{
  "name": "test",
  "allow_rules": [
    {
      "name": "read and retry",
      "source": {"principals": ["spiffe://example.org/bff"]},
      "request": {"paths": [
        "/verification.v1.VerificationService/GetStatus",
        "/verification.v1.VerificationService/WatchStatus",
        "/verification.v1.VerificationService/RetryVerification"]}
    },
    {
      "name": "events",
      "source": {"principals": ["reporting.internal"]},
      "request": {"paths": [
        "/verification.v1.VerificationService/WatchStatus/all_sessions",
        "/verification.v1.VerificationService/ListVerifications"]}
    },
    {
      "name": "all",
      "source": {"principals": ["spiffe://example.org/admin/*"]},
      "request": {"paths": ["/verification.v1.VerificationService/*", "/verification.v1.FeedService/*"]}
    }
  ],
  "deny_rules": [
    {
      "name": "interns",
      "source": {"principals": ["spiffe://example.org/admin/intern"]},
      "request": {"paths": ["/verification.v1.VerificationService/RetryVerification"]}
    }
  ]
}`

// newBench writes a complete set of files and serves. change can alter the configuration first.
func newBench(t testing.TB, change func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), servers: newAuthority(t, "servers"), clients: newAuthority(t, "clients"), log: &lines{}}
	certificate, key := b.servers.server()
	b.write("tls.crt", certificate)
	b.write("tls.key", key)
	b.write("ca.crt", b.clients.pem())
	b.write("policy.json", policyText)
	b.write("tokens", "# nobody yet\n")
	config := Config{
		CertFile: b.path("tls.crt"), KeyFile: b.path("tls.key"), ClientCAFile: b.path("ca.crt"),
		PolicyFile: b.path("policy.json"), TokensFile: b.path("tokens"), MaxStreams: 100,
		Observe: func(reason verificationv1.ErrorReason) { b.observed.Store(reason, true) },
		Shed:    func(_ context.Context, method, setting string) { b.shed.Store(method+" "+setting, true) },
	}
	if change != nil {
		change(&config)
	}
	b.logger = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config.Logger = b.logger
	b.files = reload.New(reload.Config{Logger: b.logger})
	var err error
	if b.Access, err = Open(config, b.files); err != nil {
		t.Fatal(err)
	}
	b.serve()
	return b
}

// reload checks the files until new content is applied or refused.
func (b *bench) reload() {
	b.files.Look()
	b.files.Look()
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// write replaces a file atomically, as an operator should.
func (b *bench) write(name, content string) {
	b.t.Helper()
	next := b.path("next." + name)
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(next, b.path(name)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) serve() {
	b.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = listener.Addr().String()
	server := grpcserver.New(grpcserver.Config{Logger: b.logger, Reflection: true, Access: b.Access})
	b.server = server
	server.RegisterService(b.service(), nil)
	server.RegisterService(b.unaryService(verificationv1.FeedService_ServiceDesc.ServiceName, feedMethods), nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	b.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		server.Stop(ctx)
		if err := <-served; err != nil {
			b.t.Errorf("Serve returned %v after Stop", err)
		}
	})
}

// unaryService has a name of the contract and answers every call.
func (b *bench) unaryService(name string, methods []string) *grpc.ServiceDesc {
	desc := &grpc.ServiceDesc{ServiceName: name}
	for _, method := range methods {
		info := &grpc.UnaryServerInfo{FullMethod: "/" + desc.ServiceName + "/" + method}
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: method,
			Handler: func(_ any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
				request := &emptypb.Empty{}
				if err := decode(request); err != nil {
					return nil, err
				}
				return interceptor(ctx, request, info, func(ctx context.Context, _ any) (any, error) {
					b.reach(ctx)
					if b.answer != nil {
						return b.answer(ctx)
					}
					return &emptypb.Empty{}, nil
				})
			}})
	}
	return desc
}

// service is unaryService with the watch.
func (b *bench) service() *grpc.ServiceDesc {
	desc := b.unaryService(verificationv1.VerificationService_ServiceDesc.ServiceName, methods)
	desc.Streams = []grpc.StreamDesc{{StreamName: "WatchStatus", ServerStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			if err := stream.RecvMsg(&verificationv1.WatchStatusRequest{}); err != nil {
				return err
			}
			b.reach(stream.Context())
			if b.watch != nil {
				return b.watch(stream)
			}
			return stream.SendMsg(&verificationv1.WatchStatusResponse{})
		}}}
	return desc
}

func (b *bench) reach(ctx context.Context) {
	b.reached.Add(1)
	b.principal.Store(b.Principal(ctx))
}

// identity is the credentials of a caller.
type identity struct {
	tls   *tls.Config // nil: plain text
	token []string    // values of the authorization header
}

// as returns a caller with a client certificate, or without one for nil. It sends the certificate whatever the server asks for.
func (b *bench) as(certificate *tls.Certificate, authorization ...string) identity {
	config := &tls.Config{RootCAs: b.servers.pool()}
	if certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	return identity{config, authorization}
}

// dial connects with an identity until the test ends.
func (b *bench) dial(who identity) *grpc.ClientConn {
	b.t.Helper()
	conn := b.connect(who)
	b.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (b *bench) connect(who identity) *grpc.ClientConn {
	b.t.Helper()
	conn, err := grpc.NewClient(b.addr, grpc.WithTransportCredentials(transport(who.tls)))
	if err != nil {
		b.t.Fatal(err)
	}
	return conn
}

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// token adds a token with these rights to the file and reloads it.
func (b *bench) token(name string, rights ...Right) string {
	b.t.Helper()
	token, line, err := NewToken(name, rights)
	if err != nil {
		b.t.Fatal(err)
	}
	before, err := os.ReadFile(b.path("tokens"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("tokens", string(before)+line.String()+"\n")
	b.reload()
	return token
}

func transport(config *tls.Config) credentials.TransportCredentials {
	if config == nil {
		return plain()
	}
	return credentials.NewTLS(config)
}

// expired makes a certificate that expired yesterday.
func expired(change func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		change(c)
		c.NotBefore, c.NotAfter = time.Now().Add(-3*time.Hour), time.Now().Add(-time.Hour)
	}
}
