package access

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// healthWatch opens a health watch and waits for its first answer.
func healthWatch(ctx context.Context, conn *grpc.ClientConn) (grpc.ServerStreamingClient[healthpb.HealthCheckResponse], error) {
	stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{
		Service: verificationv1.VerificationService_ServiceDesc.ServiceName,
	})
	if err != nil {
		return nil, err
	}
	_, err = stream.Recv()
	return stream, err
}

// from returns a connection without credentials from an address of this machine.
func (b *bench) from(address string) *grpc.ClientConn {
	b.t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := grpc.NewClient(b.addr, grpc.WithTransportCredentials(transport(b.as(nil).tls)),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", to) }))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// flood opens health watches without credentials, each on a connection from an address of its own, and opens the next one when one
// ends, until the test ends. It returns after one try of each.
func (b *bench) flood(connections, watches int) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tried := make(chan struct{}, connections*watches)
	ended := make(chan struct{}, connections*watches)
	for n := range connections {
		conn := b.from(fmt.Sprintf("127.0.0.%d", n+1))
		for range watches {
			go func() {
				defer func() { ended <- struct{}{} }()
				for first := true; ctx.Err() == nil; first = false {
					stream, err := healthWatch(ctx, conn)
					if first {
						tried <- struct{}{}
					}
					for err == nil {
						_, err = stream.Recv()
					}
					select { // it does not obey the error, but leaves a processor to others
					case <-ctx.Done():
					case <-time.After(20 * time.Millisecond):
					}
				}
			}()
		}
	}
	b.t.Cleanup(func() {
		cancel()
		for range connections * watches {
			<-ended
		}
	})
	late := time.After(testTimeout)
	for range connections * watches {
		select {
		case <-tried:
		case <-late:
			b.t.Fatal("the flood does not get under way")
		}
	}
}

// honest returns this project's client with a token. It watches the server's health before its first call.
func (b *bench) honest(token string) *client.Client {
	b.t.Helper()
	own, err := client.Dial(b.addr, client.WithTLS(b.as(nil).tls),
		client.WithBearerToken(func(context.Context) (string, error) { return token, nil }))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = own.Close() })
	return own
}

// TestG15_HealthWatchesWithoutCredentialsLockNoClientOut: a client that connects during the flood is served, and so is one that
// connected before.
func TestG15_HealthWatchesWithoutCredentialsLockNoClientOut(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxStreams, c.SharePercent = 64, 25 })
	b.server.SetServing(true)
	token := b.token("web", RightRead)
	before := b.honest(token)
	ask := func(what string, c *client.Client) {
		t.Helper()
		if _, err := c.Status(patient(t), client.Session("vs_1")); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	ask("before the flood", before)
	b.flood(8, 20)
	ask("a client that was connected before", before)
	for range 3 {
		ask("a client that connects during the flood", b.honest(token))
	}
}

// ended returns the error that a stream ends with.
func ended(t *testing.T, stream grpc.ServerStreamingClient[healthpb.HealthCheckResponse]) error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		for {
			if _, err := stream.Recv(); err != nil {
				result <- err
				return
			}
		}
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(testTimeout):
		t.Fatal("the stream does not end")
		return nil
	}
}

// TestG15_TheOldestHealthWatchOfAnAddressGivesWay: an address beyond its share gets its own oldest watch evicted, with an error after
// which clients try again. The watches of other addresses stay.
func TestG15_TheOldestHealthWatchOfAnAddressGivesWay(t *testing.T) {
	const each = 2 // a quarter of a sixteenth of the health watches
	b := newBench(t, func(c *Config) { c.MaxStreams, c.SharePercent = each*4*16, 25 })
	open := func(conn *grpc.ClientConn) grpc.ServerStreamingClient[healthpb.HealthCheckResponse] {
		t.Helper()
		stream, err := healthWatch(patient(t), conn)
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	neighbour := b.from("127.0.0.3")
	open(neighbour)
	second := open(neighbour)
	var last grpc.ServerStreamingClient[healthpb.HealthCheckResponse]
	before := make([]grpc.ServerStreamingClient[healthpb.HealthCheckResponse], 0, each)
	for n := range 10 * each {
		last = open(b.from("127.0.0.2"))
		if n < each {
			before = append(before, last)
		}
	}
	for _, stream := range before {
		if err := ended(t, stream); status.Code(err) != codes.Unavailable {
			t.Errorf("an old watch of the address: got %v, want UNAVAILABLE", err)
		}
	}
	if got := b.limits.health.Taken(); got != 2*each {
		t.Errorf("got %d health watches, want %d of each of two addresses", got, each)
	}
	b.wantShed(healthPrefix + "Watch none: it is fixed for health watches without credentials")
	// The other watches are still open: they receive that the server becomes ready.
	b.server.SetServing(true)
	for _, stream := range []grpc.ServerStreamingClient[healthpb.HealthCheckResponse]{second, last} {
		if response, err := stream.Recv(); err != nil || response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("a watch that must stay: got %v, %v, want SERVING", response, err)
		}
	}
}

// TestG15_HealthWatchesOfCredentialsAreKept: of a token, of a certificate, and of a certificate beside a token that is no longer
// valid. A bad token alone is no credential.
func TestG15_HealthWatchesOfCredentialsAreKept(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxStreams, c.SharePercent = 64, 25 })
	certificate := b.clients.client(spiffe(t, "spiffe://example.org/bff"))
	good := "Bearer " + b.token("web", RightRead)
	bad := "Bearer vst_" + strings.Repeat("x", 43)
	kept := map[string]identity{
		"a token": b.as(nil, good), "a certificate": b.as(certificate), "a certificate beside a bad token": b.as(certificate, bad),
	}
	streams := map[string]grpc.ServerStreamingClient[healthpb.HealthCheckResponse]{}
	for name, who := range kept {
		stream, err := healthWatch(authorized(patient(t), who), b.dial(who))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		streams[name] = stream
	}
	unidentifiedWatch, err := healthWatch(authorized(patient(t), b.as(nil, bad)), b.dial(b.as(nil, bad)))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // of the same address
		if _, err := healthWatch(patient(t), b.from("127.0.0.1")); err != nil {
			t.Fatal(err)
		}
	}
	if err := ended(t, unidentifiedWatch); status.Code(err) != codes.Unavailable {
		t.Errorf("the watch of a bad token: got %v, want UNAVAILABLE", err)
	}
	b.server.SetServing(true)
	for name, stream := range streams {
		if response, err := stream.Recv(); err != nil || response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("the watch of %s: got %v, %v, want SERVING", name, response, err)
		}
	}
}

// TestG15_OneCallersStreamsLeaveOthersTheirs: a caller that opens as many watches and health watches as it can is refused at its
// share, and the error says that the share is its own. Another caller still has its share.
func TestG15_OneCallersStreamsLeaveOthersTheirs(t *testing.T) {
	for _, test := range []struct {
		name                           string
		percent, explicit              int
		watches, health                int // that each caller can have
		watchLimit, healthLimit, share string
	}{
		{"by default", 25, 0, 10, 10, "CALLER_SHARE_PERCENT", "CALLER_SHARE_PERCENT", "its share"},
		{"a number of watches", 25, 3, 3, 10, "CALLER_MAX_STREAMS", "CALLER_SHARE_PERCENT", "its share"},
		{"no bound by caller", 0, 0, 40, 40, "GRPC_MAX_STREAMS", "GRPC_MAX_STREAMS", "this server has"},
		{"all", 100, 0, 40, 40, "CALLER_SHARE_PERCENT", "CALLER_SHARE_PERCENT", "its share"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.MaxStreams, c.SharePercent, c.MaxStreamsEach = 40, test.percent, test.explicit })
			b.watch = func(stream grpc.ServerStream) error {
				if err := stream.SendMsg(&verificationv1.WatchStatusResponse{}); err != nil {
					return err
				}
				<-stream.Context().Done()
				return stream.Context().Err()
			}
			a, other := b.as(nil, "Bearer "+b.token("a", RightRead)), b.as(nil, "Bearer "+b.token("b", RightRead))
			fill := func(who identity, open func(ctx context.Context, conn *grpc.ClientConn) error) (opened int, refused error) {
				conn := b.dial(who)
				for range 41 {
					if err := open(authorized(patient(t), who), conn); err != nil {
						return opened, err
					}
					opened++
				}
				return opened, nil
			}
			watch := func(ctx context.Context, conn *grpc.ClientConn) error {
				stream, err := verificationv1.NewVerificationServiceClient(conn).WatchStatus(ctx, watchOne)
				if err == nil {
					_, err = stream.Recv()
				}
				return err
			}
			health := func(ctx context.Context, conn *grpc.ClientConn) error {
				_, err := healthWatch(ctx, conn)
				return err
			}
			for _, kind := range []struct {
				name string
				open func(ctx context.Context, conn *grpc.ClientConn) error
				want int
			}{{"watches", watch, test.watches}, {"health watches", health, test.health}} {
				got, err := fill(a, kind.open)
				if wantExhausted(t, err, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS); got != kind.want {
					t.Errorf("one caller has %d %s, want %d", got, kind.name, kind.want)
				}
				if text := status.Convert(err).Message(); !strings.Contains(text, test.share) {
					t.Errorf("the caller got %q, want %q", text, test.share)
				}
				if got, _ := fill(other, kind.open); got != min(kind.want, 40-kind.want) {
					t.Errorf("another caller has %d %s beside it, want %d", got, kind.name, min(kind.want, 40-kind.want))
				}
			}
			want := []string{pathWatch + " " + test.watchLimit, healthPrefix + "Watch " + test.healthLimit}
			if test.percent == 100 { // nothing is left for the other one
				want = append(want, pathWatch+" GRPC_MAX_STREAMS", healthPrefix+"Watch GRPC_MAX_STREAMS")
			}
			b.wantShed(want...)
		})
	}
}

// TestG15_HealthWatchesWithoutCredentialsMakeRoomForCallers, even if callers have all the others.
func TestG15_HealthWatchesWithoutCredentialsMakeRoomForCallers(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxStreams, c.SharePercent = 4, 100 })
	who := b.as(nil, "Bearer "+b.token("web", RightRead))
	unidentifiedWatch, err := healthWatch(patient(t), b.from("127.0.0.2"))
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := healthWatch(authorized(patient(t), who), b.dial(who)); err != nil {
			t.Errorf("a caller's health watch: %v", err)
		}
	}
	if err := ended(t, unidentifiedWatch); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
}

// TestG15_AHealthWatchWithoutItsRequestGivesWay: it is evicted at once, not after the wait for its request.
func TestG15_AHealthWatchWithoutItsRequestGivesWay(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxStreams, c.SharePercent = 16, 25 })
	half, err := b.from("127.0.0.2").NewStream(patient(t), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, healthPrefix+"Watch")
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the half watch is there", func() bool { return b.limits.health.Taken() == 1 })
	began := time.Now()
	if _, err := healthWatch(patient(t), b.from("127.0.0.3")); err != nil {
		t.Fatal(err)
	}
	if err := half.RecvMsg(&healthpb.HealthCheckResponse{}); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("it ended after %v", took)
	}
}
