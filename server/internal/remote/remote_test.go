package remote

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func list(t *testing.T, server *Server) (string, error) {
	var out bytes.Buffer
	err := ListConsumers(t.Context(), server, func() time.Time { return now }, &out)
	return out.String(), err
}

func TestListConsumersShowsATable(t *testing.T) {
	feed := &fakeFeed{}
	server := &Server{Addr: serve(t, nil, feed), Plaintext: true, Timeout: 20 * time.Second}
	for _, test := range []struct {
		consumers []*verificationv1.Consumer
		want      string
	}{
		{nil, "The server has no named consumer.\n"},
		{[]*verificationv1.Consumer{
			{Name: "ledger", PendingChanges: 31, Lag: durationpb.New(75 * time.Hour), Expired: true},
			{Name: "mailer", Principal: "token:mailer", Active: true, AcknowledgeTime: timestamppb.New(now.Add(-7 * time.Second)), Lag: durationpb.New(0)},
			{Name: "ahead", Principal: "spiffe://a/\x1b[2J", AcknowledgeTime: timestamppb.New(now.Add(time.Minute))},
		}, `
NAME    PRINCIPAL             ACTIVE  ACKNOWLEDGED  PENDING  LAG   EXPIRED
ledger  -                     no      never         31       3d3h  yes
mailer  token:mailer          yes     7s ago        0        0s    no
ahead   "spiffe://a/\x1b[2J"  no      0s ago        0        0s    no
`},
	} {
		feed.consumers = test.consumers
		got, err := list(t, server)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), got); diff != "" {
			t.Errorf("the list (-want +got):\n%s", diff)
		}
	}
}

func TestDeleteConsumerNamesTheConsumer(t *testing.T) {
	feed := &fakeFeed{}
	server := &Server{Addr: serve(t, nil, feed), Plaintext: true, Timeout: 20 * time.Second}
	var out bytes.Buffer
	if err := DeleteConsumer(t.Context(), server, "mailer", &out); err != nil {
		t.Fatal(err)
	}
	if want := "The server has no consumer mailer any more. Its position is deleted.\n"; out.String() != want {
		t.Errorf("output: got %q, want %q", out.String(), want)
	}
	if feed.deleted != "mailer" {
		t.Errorf("deleted: got %q, want mailer", feed.deleted)
	}
	feed.err = status.Error(codes.PermissionDenied, "another caller created the consumer")
	if err := DeleteConsumer(t.Context(), server, "mailer", &out); err == nil || !strings.Contains(err.Error(), "cannot be deleted: the server refuses the call: another caller created") {
		t.Errorf("error: got %v", err)
	}
}

// TestCredentialsAreSentThroughTLS: the token of a file, and a client certificate, reach a server whose certificate is checked.
func TestCredentialsAreSentThroughTLS(t *testing.T) {
	id, feed := newIdentity(t), &fakeFeed{}
	server := &Server{
		Addr:   serve(t, &tls.Config{Certificates: []tls.Certificate{id.pair}, ClientCAs: id.pool, ClientAuth: tls.RequireAndVerifyClientCert}, feed),
		CAFile: id.certFile, ServerName: "server.test", CertFile: id.certFile, KeyFile: id.keyFile,
		TokenFile: writeFile(t, "token", "vst_planted\n"), Timeout: 20 * time.Second,
	}
	if _, err := list(t, server); err != nil {
		t.Fatal(err)
	}
	if want := []string{"Bearer vst_planted"}; !cmp.Equal(feed.authorization, want) {
		t.Errorf("authorization: got %q, want %q", feed.authorization, want)
	}
	server.CertFile, server.KeyFile = "", ""
	if _, err := list(t, server); err == nil || !strings.Contains(err.Error(), "cannot be called") {
		t.Errorf("without a certificate: got %v", err)
	}
}

// TestFailuresAreInPlainWords: each names what to change, and none has the token.
func TestFailuresAreInPlainWords(t *testing.T) {
	id := newIdentity(t)
	secure := serve(t, &tls.Config{Certificates: []tls.Certificate{id.pair}}, &fakeFeed{})
	refusing := func(code codes.Code, text string) string {
		return serve(t, nil, &fakeFeed{err: status.Error(code, text)})
	}
	for name, test := range map[string]struct {
		server Server
		want   string
	}{
		"a server without TLS":         {Server{Addr: serve(t, nil, &fakeFeed{})}, "the server has no TLS: give --plaintext"},
		"a server with TLS":            {Server{Addr: secure, Plaintext: true}, "if the server has TLS, leave out --plaintext"},
		"an unknown authority":         {Server{Addr: secure, ServerName: "server.test"}, "name the authority of the server's certificate in --ca-file"},
		"another name":                 {Server{Addr: secure, CAFile: id.certFile, ServerName: "other.test"}, "server.test, not other.test: give one of these names in --server-name"},
		"nobody listens":               {Server{Addr: "127.0.0.1:1", Plaintext: true}, "the server at 127.0.0.1:1 cannot be called: Error while dialing"},
		"no answer":                    {Server{Addr: serve(t, nil, &fakeFeed{silent: true}), Plaintext: true, Timeout: 50 * time.Millisecond}, "gave no answer within 50ms"},
		"an old server":                {Server{Addr: serve(t, nil, nil), Plaintext: true}, "the server has no named consumers: its version is too old"},
		"no credentials":               {Server{Addr: refusing(codes.Unauthenticated, "no token"), Plaintext: true}, "the server does not know the caller: no token: give --token-file, or --cert-file and --key-file"},
		"no right":                     {Server{Addr: refusing(codes.PermissionDenied, "token:web may not call X"), Plaintext: true}, "the server refuses the call: token:web may not call X"},
		"another error":                {Server{Addr: refusing(codes.Internal, "planted"), Plaintext: true}, "the server answers Internal: planted"},
		"no port":                      {Server{Addr: "localhost"}, "--addr must be HOST:PORT"},
		"no time":                      {Server{Addr: "localhost:1", Timeout: -1}, "--timeout must be more than 0s"},
		"a token without TLS":          {Server{Addr: "localhost:1", Token: "vst_planted", Plaintext: true}, "--plaintext sends no credentials"},
		"an authority without TLS":     {Server{Addr: "localhost:1", CAFile: id.certFile, Plaintext: true}, "--plaintext sends no credentials"},
		"two tokens":                   {Server{Addr: "localhost:1", Token: "vst_planted", TokenFile: id.keyFile}, "remove one of the two"},
		"no file of the token":         {Server{Addr: "localhost:1", TokenFile: id.certFile + "x"}, "VERIFICATION_TOKEN_FILE: "},
		"no file of the authorities":   {Server{Addr: "localhost:1", CAFile: id.certFile + "x"}, "--ca-file: "},
		"authorities that are none":    {Server{Addr: "localhost:1", CAFile: id.keyFile}, "has no PEM certificate"},
		"a certificate without a key":  {Server{Addr: "localhost:1", CertFile: id.certFile}, "--cert-file and --key-file go together"},
		"a key that is no private key": {Server{Addr: "localhost:1", CertFile: id.certFile, KeyFile: id.certFile}, "--cert-file and --key-file: "},
	} {
		t.Run(name, func(t *testing.T) {
			if test.server.Timeout == 0 {
				test.server.Timeout = 20 * time.Second
			} else if test.server.Timeout < 0 {
				test.server.Timeout = 0
			}
			out, err := list(t, &test.server)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "planted") != strings.Contains(test.want, "planted") {
				t.Errorf("error: got %v, want %q in it", err, test.want)
			}
			if out != "" {
				t.Errorf("output: got %q, want none", out)
			}
		})
	}
}

func TestDialTarget(t *testing.T) {
	for addr, want := range map[string]struct{ target, name string }{
		"verification-status:50051": {"verification-status:50051", ""}, "[::1]:1": {"[::1]:1", ""},
		":50051": {"127.0.0.1:50051", "localhost"}, "0.0.0.0:1": {"127.0.0.1:1", "localhost"}, "[::]:1": {"127.0.0.1:1", "localhost"},
	} {
		if target, name, err := dialTarget(addr); target != want.target || name != want.name || err != nil {
			t.Errorf("%s: got %q, %q, %v; want %+v", addr, target, name, err, want)
		}
	}
}

// TestAServerOnEveryInterfaceIsCalledOnThisMachine: without the name localhost, but its certificate is checked against that name.
func TestAServerOnEveryInterfaceIsCalledOnThisMachine(t *testing.T) {
	id := newIdentity(t)
	_, port, err := net.SplitHostPort(serve(t, &tls.Config{Certificates: []tls.Certificate{id.pair}}, &fakeFeed{}))
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{Addr: ":" + port, CAFile: id.certFile, Timeout: 20 * time.Second}
	if _, err := list(t, server); err == nil || !strings.Contains(err.Error(), "server.test, not localhost: give one of these names in --server-name") {
		t.Errorf("a certificate of another name: got %v, want the names of the certificate", err)
	}
	server.ServerName = "server.test"
	if _, err := list(t, server); err != nil {
		t.Errorf("with --server-name: %v", err)
	}
	_, port, err = net.SplitHostPort(serve(t, nil, &fakeFeed{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list(t, &Server{Addr: ":" + port, Plaintext: true, Timeout: 20 * time.Second}); err != nil {
		t.Errorf("in plain text: %v", err)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 999 * time.Millisecond: "0s", time.Second: "1s", 59 * time.Second: "59s", time.Minute: "1m0s",
		61*time.Minute + 59*time.Second: "1h1m", 24 * time.Hour: "1d0h", 100*24*time.Hour + 23*time.Hour + 59*time.Minute: "100d23h",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
