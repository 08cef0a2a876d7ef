package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/reload"
)

// get makes one call on a connection of its own.
func (b *bench) get(who identity) error {
	conn := b.connect(who)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	return unary("GetStatus")(authorized(ctx, who), conn)
}

func authorized(ctx context.Context, who identity) context.Context {
	for _, value := range who.token {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
	}
	return ctx
}

func (b *bench) wantGet(what string, who identity, want codes.Code) {
	b.t.Helper()
	if err := b.get(who); status.Code(err) != want {
		b.t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// served returns the certificate of the server.
func (b *bench) served() *x509.Certificate {
	b.t.Helper()
	conn, err := tls.Dial("tcp", b.addr, &tls.Config{RootCAs: b.servers.pool(), NextProtos: []string{"h2"}})
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(testTimeout); !done(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", testTimeout, what)
		}
	}
}

// mounted are the files of a secret as Kubernetes mounts them: links through ..data to a directory. An update is a new directory
// and a new ..data.
type mounted struct {
	t    testing.TB
	root string
	n    int
}

func (m *mounted) swap(files map[string]string) {
	m.t.Helper()
	m.n++
	dir := fmt.Sprintf("..generation%d", m.n)
	if err := os.Mkdir(filepath.Join(m.root, dir), 0o700); err != nil {
		m.t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(m.root, dir, name), []byte(content), 0o600); err != nil {
			m.t.Fatal(err)
		}
		_ = os.Symlink(filepath.Join("..data", name), filepath.Join(m.root, name)) // there already from the second time on
	}
	next := filepath.Join(m.root, "..data_tmp")
	if err := os.Symlink(dir, next); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(m.root, "..data")); err != nil {
		m.t.Fatal(err)
	}
}

// TestTLSFilesSwappedUnderLoad as Kubernetes does it: callers connect and call meanwhile, and no call fails. Files that do not
// match, and missing files, change nothing.
func TestTLSFilesSwappedUnderLoad(t *testing.T) {
	mount := &mounted{t: t, root: t.TempDir()}
	b := newBench(t, func(c *Config) {
		files := map[string]string{}
		for name, path := range map[string]*string{"tls.crt": &c.CertFile, "tls.key": &c.KeyFile, "ca.crt": &c.ClientCAFile} {
			content, err := os.ReadFile(*path)
			if err != nil {
				t.Fatal(err)
			}
			files[name], *path = string(content), filepath.Join(mount.root, name)
		}
		mount.swap(files)
	})
	ctx, stop := context.WithCancel(context.Background())
	var looking, calls sync.WaitGroup
	looking.Go(func() {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for ; ctx.Err() == nil; <-ticker.C {
			b.files.Look()
		}
	})
	defer looking.Wait()
	defer stop()

	who := b.as(b.clients.client(spiffe(t, "spiffe://example.org/bff")))
	ending := make(chan struct{})
	end := sync.OnceFunc(func() { close(ending); calls.Wait() })
	defer end()
	var made, failed atomic.Int64
	lasting := b.dial(who)
	for caller := range 4 {
		calls.Go(func() {
			for ; ; made.Add(1) {
				select {
				case <-ending:
					return
				default:
				}
				var err error
				if caller == 0 {
					err = unary("GetStatus")(patient(t), lasting)
				} else {
					err = b.get(who) // with a handshake
				}
				if err != nil {
					failed.Add(1)
					t.Error(err)
				}
			}
		})
	}
	next := newAuthority(t, "the clients' next")
	for generation := range 30 {
		certificate, key := b.servers.server()
		_, other := b.servers.server()
		mount.swap(map[string]string{"tls.crt": certificate, "tls.key": other, "ca.crt": "none"}) // wrong, each in its way
		mount.swap(map[string]string{"tls.crt": certificate, "tls.key": key, "ca.crt": b.clients.pem() + next.pem()})
		want := fmt.Sprint(int64(100) + b.servers.serial - 1)
		await(t, "certificate "+want, func() bool { return b.served().SerialNumber.String() == want })
		if generation == 5 {
			b.wantGet("the next authority", b.as(next.client(spiffe(t, "spiffe://example.org/bff"))), codes.OK)
		}
	}
	// While a file is missing, everything stays as it is.
	if err := os.Remove(filepath.Join(mount.root, "..data")); err != nil {
		t.Fatal(err)
	}
	await(t, "the log tells of it", func() bool { return strings.Contains(b.log.String(), "no such file") })
	b.wantGet("no files", who, codes.OK)
	end()
	if made.Load() < 30 {
		t.Error("there was no load")
	}
	t.Logf("of %d calls %d failed", made.Load(), failed.Load())
	if strings.Contains(b.log.String(), "PRIVATE KEY") {
		t.Error("a key is in the log")
	}
}

// TestHalfASwapKeepsThePair: certificate and key written one after the other.
func TestHalfASwapKeepsThePair(t *testing.T) {
	b := newBench(t, nil)
	first := b.served().SerialNumber
	certificate, key := b.servers.server()
	b.write("tls.crt", certificate)
	b.reload()
	if got := b.served().SerialNumber; got.Cmp(first) != 0 {
		t.Errorf("half a swap is in force: %v", got)
	}
	if log := b.log.String(); strings.Count(log, "private key does not match public key") != 1 || !strings.Contains(log, "GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE") {
		t.Errorf("the log says %s", log)
	}
	b.reload()
	if strings.Count(b.log.String(), "does not match") != 1 {
		t.Error("an old problem is logged again")
	}
	b.write("tls.key", key)
	b.reload()
	if got := b.served().SerialNumber; got.Cmp(first) == 0 {
		t.Error("the whole swap is not in force")
	}
}

// TestARemovedAuthorityAcceptsNoNewConnection: new connections fail, even with session tickets of an earlier one.
func TestARemovedAuthorityAcceptsNoNewConnection(t *testing.T) {
	b := newBench(t, nil)
	who := b.as(b.clients.client(spiffe(t, "spiffe://example.org/bff")))
	tickets := &noTickets{}
	who.tls.ClientSessionCache = tickets
	b.wantGet("before", who, codes.OK)
	b.wantGet("before, again", who, codes.OK)
	b.write("ca.crt", newAuthority(t, "the clients' next").pem())
	b.reload()
	b.wantGet("after", who, codes.Unavailable)
	if tickets.put.Load() != 0 {
		t.Error("the server gives out tickets, by which its certificate check could be passed by")
	}
}

// noTickets counts the session tickets that it gets.
type noTickets struct{ put atomic.Int64 }

func (*noTickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (n *noTickets) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		n.put.Add(1)
	}
}

// openWatch opens a watch that sends a response for each value of next.
func openWatch(t *testing.T, b *bench, who identity, request *verificationv1.WatchStatusRequest) (stream grpc.ServerStreamingClient[verificationv1.WatchStatusResponse], next chan<- struct{}) {
	t.Helper()
	values := make(chan struct{})
	b.watch = func(stream grpc.ServerStream) error {
		for {
			select {
			case <-stream.Context().Done():
				return stream.Context().Err()
			case <-values:
			}
			if err := stream.SendMsg(&verificationv1.WatchStatusResponse{ResumeToken: "secret to some"}); err != nil {
				return err
			}
		}
	}
	stream, err := verificationv1.NewVerificationServiceClient(b.dial(who)).WatchStatus(authorized(patient(t), who), request)
	if err != nil {
		t.Fatal(err)
	}
	values <- struct{}{}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return stream, values
}

// TestTokensSwapped: a removed token is refused and an added one is accepted. An open stream gets nothing more when its token is
// removed or has lost the right.
func TestTokensSwapped(t *testing.T) {
	b := newBench(t, nil)
	first := b.as(nil, "Bearer "+b.token("web", RightRead))
	b.wantGet("the first", first, codes.OK)
	stream, next := openWatch(t, b, first, watchOne)

	second := b.as(nil, "Bearer "+b.token("web", RightRead, RightRetry))
	b.wantGet("the first beside the second", first, codes.OK)
	b.wantGet("the second", second, codes.OK)
	next <- struct{}{}
	if _, err := stream.Recv(); err != nil {
		t.Errorf("a stream whose token is still there: %v", err)
	}

	b.write("tokens", "web half a line")
	b.reload()
	b.wantGet("a file that cannot be read", second, codes.OK)
	b.write("tokens", "# nobody\n")
	b.reload()
	b.wantGet("the first, taken away", first, codes.Unauthenticated)
	b.wantGet("the second, taken away", second, codes.Unauthenticated)
	next <- struct{}{}
	if response, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a stream whose token is gone: %v, %v", response, err)
	}
	if log := b.log.String(); !strings.Contains(log, "GRPC_TOKENS_FILE") || strings.Contains(log, "half a") {
		t.Errorf("the log says %s", log)
	}
}

// begun is a stream with a context, and with a request for one session.
type begun struct {
	grpc.ServerStream
	ctx context.Context
}

func (b begun) Context() context.Context { return b.ctx }
func (b begun) RecvMsg(message any) error {
	proto.Merge(message.(proto.Message), watchOne)
	return nil
}

// TestATokenThatGoesWhileAStreamBegins: the token is removed between its check and the request. Without another check the stream
// would stay open until its maximum age.
func TestATokenThatGoesWhileAStreamBegins(t *testing.T) {
	b := newBench(t, nil)
	token := b.token("web", RightRead)
	ctx := b.Identify(metadata.NewIncomingContext(patient(t), metadata.Pairs("authorization", "Bearer "+token)))
	b.write("tokens", "# nobody\n")
	b.reload()
	stream, leave, err := b.Stream(ctx, pathWatch, begun{ctx: ctx})
	if err == nil {
		err = stream.RecvMsg(&verificationv1.WatchStatusRequest{})
		leave()
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v", err)
	}
}

// TestPolicySwapped: the rights of a certificate change, for open streams too.
func TestPolicySwapped(t *testing.T) {
	b := newBench(t, nil)
	reporting := b.as(b.clients.client(dns("reporting.internal")))
	b.wantGet("before", reporting, codes.PermissionDenied)
	stream, next := openWatch(t, b, reporting, watchAll)
	b.write("policy.json", `{"name": "broken", "allow_rules": [`)
	b.reload()
	next <- struct{}{}
	if _, err := stream.Recv(); err != nil {
		t.Errorf("a policy that cannot be read: %v", err)
	}
	b.write("policy.json", strings.ReplaceAll(policyText, "reporting.internal", "spiffe://example.org/nobody"))
	b.reload()
	b.wantGet("after", b.as(b.clients.client(spiffe(t, "spiffe://example.org/bff"))), codes.OK)
	next <- struct{}{}
	if response, err := stream.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a stream whose right is gone: %v, %v", response, err)
	}
}

// A file with a right of a later version is accepted, at start and later, with a warning. A token without a known right may make no
// call.
func TestARightOfALaterVersionIsLoggedAndIgnored(t *testing.T) {
	token, line, err := NewToken("web", []Right{RightRead})
	if err != nil {
		t.Fatal(err)
	}
	withRights := func(rights string) string { return strings.TrimSuffix(line.String(), "read") + rights + "\n" }
	b := newBench(t, func(c *Config) {
		if err := os.WriteFile(c.TokensFile, []byte("# first\n"+withRights("read,operate")), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	who := b.as(nil, "Bearer "+token)
	warned := func(times int) {
		t.Helper()
		log := b.log.String()
		if got := strings.Count(log, "unknown rights in a line of the tokens file"); got != times {
			t.Errorf("%d warnings; want %d:\n%s", got, times, log)
		}
		if strings.Contains(log, token) || strings.Contains(log, line.String()[len("web "):40]) {
			t.Errorf("the log shows the token or its hash:\n%s", log)
		}
	}
	b.wantGet("with a right more", who, codes.OK)
	warned(1)
	for _, want := range []string{"line=2", "principal=token:web", "level=WARN", "read, watch-all, list, retry, override and compare", "without_any_right=false"} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("the warning does not say %q:\n%s", want, b.log.String())
		}
	}
	b.write("tokens", withRights("operate"))
	b.reload()
	b.wantGet("with no right that is known", who, codes.PermissionDenied)
	warned(2)
	b.write("tokens", withRights(token)) // a token in the wrong column
	b.reload()
	b.wantGet("with a token in place of a right", who, codes.PermissionDenied)
	warned(3)
	b.reload()
	warned(3) // once for each change
	b.write("tokens", withRights("read"))
	b.reload()
	b.wantGet("with a right", who, codes.OK)
	warned(3)
}

// TestOpenNamesEveryFileAtOnce: the error has the setting of each unusable file.
func TestOpenNamesEveryFileAtOnce(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := newAuthority(t, "a")
	certificate, key := authority.server()
	good := Config{
		CertFile: write("crt", certificate), KeyFile: write("key", key), ClientCAFile: write("ca", authority.pem()),
		PolicyFile: write("policy", policyText), TokensFile: write("tokens", ""), MaxStreams: 1,
	}
	open := func(config Config) error {
		_, err := Open(config, reload.New(reload.Config{}))
		return err
	}
	if err := open(good); err != nil {
		t.Fatal(err)
	}
	bad := good
	bad.KeyFile, bad.ClientCAFile, bad.PolicyFile = write("key2", certificate), write("ca2", key), write("policy2", `{"name": "x", "allow_rule": []}`)
	bad.TokensFile = write("tokens2", strings.Repeat("#", maxFileBytes+1))
	err := open(bad)
	if err == nil {
		t.Fatal("bad files were taken")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{"GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE: ", "GRPC_CLIENT_CA_FILE: ", "GRPC_AUTHZ_POLICY_FILE: ", "GRPC_TOKENS_FILE: "} {
		if len(lines) != 4 || !strings.HasPrefix(lines[i], want) {
			t.Fatalf("no line %q:\n%v", want, err)
		}
	}
	pipe := filepath.Join(dir, "pipe") // would block for ever
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"missing": filepath.Join(dir, "none"), "directory": dir, "pipe": pipe} {
		odd := good
		odd.TokensFile = path
		if err := open(odd); err == nil || !strings.HasPrefix(err.Error(), "GRPC_TOKENS_FILE: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "PRIVATE") {
		t.Error("the error quotes a key")
	}
}

// TestContradictionsLetNobodyIn: config refuses contradicting settings, and access refuses every call with them.
func TestContradictionsLetNobodyIn(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"authorities without a policy": func(c *Config) { c.PolicyFile = "" },
		"authorities without TLS":      func(c *Config) { c.CertFile, c.KeyFile = "", "" },
		"a certificate without a key":  func(c *Config) { c.KeyFile = "" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, change)
			who := b.as(b.clients.client(spiffe(t, "spiffe://example.org/bff")))
			if b.Credentials() == nil {
				who = identity{}
			}
			if err := b.get(who); status.Code(err) != codes.Unauthenticated && status.Code(err) != codes.PermissionDenied {
				t.Errorf("got %v", err)
			}
		})
	}
}
