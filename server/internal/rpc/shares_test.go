package rpc

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/access"
	"example.com/verification-status/server/internal/grpcserver"
	"example.com/verification-status/server/internal/reload"
)

// slots is how many calls can be under way, and how many can wait.
const slots = 64

// gateway is a service behind the server that callers meet: with tokens, limits and shares.
type gateway struct {
	verificationv1.VerificationServiceClient
	t       *testing.T
	waited  atomic.Int64  // calls that have waited for a revision, or do
	refused atomic.Int64  // those that were refused for load
	goOn    chan struct{} // until it is closed, calls wait
	tokens  map[string]string
}

func newGateway(t *testing.T, b *backend, percent int, callers ...string) (*gateway, *replica) {
	t.Helper()
	f := &gateway{t: t, goOn: make(chan struct{}), tokens: map[string]string{}}
	r := b.replica(t, func(c *Config) {
		c.Await = func(ctx context.Context, wait func()) error {
			return grpcserver.Await(ctx, func() {
				f.waited.Add(1)
				wait()
				select {
				case <-f.goOn:
				case <-ctx.Done():
				}
			})
		}
	})
	file := filepath.Join(t.TempDir(), "tokens")
	var lines string
	for _, name := range callers {
		token, line, err := access.NewToken(name, []access.Right{access.RightRead, access.RightList})
		if err != nil {
			t.Fatal(err)
		}
		f.tokens[name] = token
		lines += line.String() + "\n"
	}
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := access.Open(access.Config{TokensFile: file, MaxStreams: 100, SharePercent: percent}, reload.New(reload.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	server := grpcserver.New(grpcserver.Config{
		Logger: slog.New(slog.DiscardHandler), Access: opened, MaxInFlight: slots, SharePercent: percent,
		Shed: func(context.Context, string, string) { f.refused.Add(1) },
	})
	verificationv1.RegisterVerificationServiceServer(server, r.service)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		server.Stop(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	f.VerificationServiceClient = verificationv1.NewVerificationServiceClient(conn)
	return f, r
}

// get asks for the status of vs_1 at a revision.
func (f *gateway) get(name string, revision int32) error {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	_, err := f.GetStatus(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+f.tokens[name]), &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_1"}, MinRevision: revision,
	})
	return err
}

// TestG15_CallsThatWaitForARevisionKeepNobodyFromStatus: a caller with a right to read asks for a revision that does not
// come, with as many calls at once as there are slots. What it asks for besides that is answered, and so is another caller. Its calls beyond
// its share of those that wait are refused.
func TestG15_CallsThatWaitForARevisionKeepNobodyFromStatus(t *testing.T) {
	const calls = slots
	for _, test := range []struct {
		name    string
		percent int
		waiting int
	}{{"by default", 25, calls / 4}, {"no bound by caller", 0, calls}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f, r := newGateway(t, newBackend(t), test.percent, "a", "b")
			r.apply(eventOf(1, 1, object("vs_1", "requires_input")))
			answers := make(chan error, calls)
			for range calls {
				go func() { answers <- f.get("a", 1<<30) }()
			}
			eventually(t, "each call waits or is refused", func() bool { return f.waited.Load()+f.refused.Load() >= calls })
			for range 20 {
				for _, name := range []string{"a", "b"} {
					if err := f.get(name, 0); err != nil {
						t.Errorf("caller %s: %v", name, err)
					}
				}
			}
			close(f.goOn)
			got := map[codes.Code]int{}
			for range calls {
				select {
				case err := <-answers:
					got[status.Code(err)]++
				case <-time.After(patience):
					t.Fatal("a call is not answered")
				}
			}
			if waited := got[codes.OutOfRange]; waited != test.waiting || got[codes.Unavailable] != calls-waited {
				t.Errorf("got %v, want %d that waited in vain, and the others refused", got, test.waiting)
			}
		})
	}
}
