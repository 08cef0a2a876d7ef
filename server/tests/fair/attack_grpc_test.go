package fair

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// streamsEach is how many streams an attacker opens on a connection.
const streamsEach = 100

func (a *attacker) tls() *tls.Config {
	pem, err := os.ReadFile(a.CA)
	if err != nil {
		panic(err) // the test wrote it
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
}

// connect makes n connections, which are opened by their first calls. They come from eight addresses.
func (a *attacker) connect(n int) []*grpc.ClientConn {
	var made []*grpc.ClientConn
	config := a.tls()
	for i := range n {
		from := dialer(fmt.Sprintf("127.0.9.%d", 9+i%8))
		conn, err := grpc.NewClient("passthrough:///"+a.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(config)),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return from.DialContext(ctx, "tcp", addr) }))
		if err != nil {
			panic(err) // for options that contradict each other
		}
		made = append(made, conn)
	}
	return made
}

func shut(connections []*grpc.ClientConn) {
	for _, conn := range connections {
		_ = conn.Close()
	}
}

// as is the attack's context with a bearer token.
func (a *attacker) as(token string) context.Context {
	return metadata.AppendToOutgoingContext(a.ctx, "authorization", "Bearer "+token)
}

// call counts the code of a call, which has a minute.
func (a *attacker) call(ctx context.Context, do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	code := status.Code(do(ctx))
	if a.ctx.Err() == nil {
		a.count(code.String())
	}
}

// receiver is a stream that is open.
type receiver interface{ RecvMsg(any) error }

// holdStreams keeps 100 streams open on each of a number of connections. It reopens a refused or ended stream after some
// seconds, and the streams of every tenth connection sooner.
func (a *attacker) holdStreams(begun func(), open func(conn *grpc.ClientConn) (receiver, any, error)) {
	connections := a.connect(a.Connections)
	defer shut(connections)
	a.hold(a.Connections*streamsEach, paced(a.Connections*streamsEach/10), begun, func(worker int, opened func()) {
		stream, message, err := open(connections[worker/streamsEach])
		if err == nil {
			err = stream.RecvMsg(message)
		}
		if err == nil {
			a.count("opened")
			opened()
			for err == nil {
				err = stream.RecvMsg(message)
			}
		}
		if a.ctx.Err() != nil {
			return
		}
		a.count(status.Code(err).String())
		opened()
		if worker/streamsEach%10 > 0 {
			a.wait(5*time.Second + rand.N(5*time.Second))
		}
	})
}

func healthWatches(a *attacker, begun func()) {
	a.holdStreams(begun, func(conn *grpc.ClientConn) (receiver, any, error) {
		stream, err := healthpb.NewHealthClient(conn).Watch(a.ctx, &healthpb.HealthCheckRequest{Service: "verification.v1.VerificationService"})
		return stream, &healthpb.HealthCheckResponse{}, err
	})
}

func allWatches(a *attacker, begun func()) {
	ctx := a.as(a.Reader)
	request := &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: a.Verified}}
	a.holdStreams(begun, func(conn *grpc.ClientConn) (receiver, any, error) {
		stream, err := verificationv1.NewVerificationServiceClient(conn).WatchStatus(ctx, request)
		return stream, &verificationv1.WatchStatusResponse{}, err
	})
}

// connections holds more connections than the listener allows, without a call on any.
func connections(a *attacker, begun func()) {
	config := a.tls()
	a.hold(1500, 5*time.Second, begun, func(worker int, opened func()) {
		conn, err := tls.DialWithDialer(dialer(fmt.Sprintf("127.0.9.%d", 9+worker%8)), "tcp", a.GRPC, config)
		if err != nil {
			a.count("not connected")
			return
		}
		a.count("connected")
		opened()
		defer context.AfterFunc(a.ctx, func() { _ = conn.Close() })()
		for buffer := make([]byte, 1024); err == nil; {
			_, err = conn.Read(buffer)
		}
		_ = conn.Close()
	})
}

// statusCalls ask for a status in a loop, on eight connections.
func (a *attacker) statusCalls(begun func(), workers int, ctx func(*rand.Rand) context.Context, request func(*rand.Rand) *verificationv1.GetStatusRequest) {
	connections := a.connect(8)
	defer shut(connections)
	a.first = begun
	a.loop(workers, paced(workers), func(worker int, rng *rand.Rand) {
		a.call(ctx(rng), func(ctx context.Context) error {
			_, err := verificationv1.NewVerificationServiceClient(connections[worker%8]).GetStatus(ctx, request(rng))
			return err
		})
	})
}

func bySession(id string) *verificationv1.GetStatusRequest {
	return &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}}
}

func unaryCalls(a *attacker, begun func()) {
	a.statusCalls(begun, 32, func(*rand.Rand) context.Context { return a.ctx },
		func(*rand.Rand) *verificationv1.GetStatusRequest { return bySession(a.Verified) })
}

// tracedCalls each claim to be part of a trace that is sampled.
func tracedCalls(a *attacker, begun func()) {
	traced := func(rng *rand.Rand) context.Context {
		parent := fmt.Sprintf("00-%016x%016x-%016x-01", rng.Uint64()|1, rng.Uint64(), rng.Uint64()|1)
		return metadata.AppendToOutgoingContext(a.ctx, "traceparent", parent, "tracestate", "a="+strings.Repeat("x", 200))
	}
	a.statusCalls(begun, 32, traced, func(*rand.Rand) *verificationv1.GetStatusRequest { return bySession(a.Verified) })
}

func (a *attacker) reads(*rand.Rand) context.Context { return a.as(a.Reader) }

// minRevision waits for a revision that never comes.
func minRevision(a *attacker, begun func(), workers int) {
	a.statusCalls(begun, workers, a.reads, func(*rand.Rand) *verificationv1.GetStatusRequest {
		request := bySession(a.Verified)
		request.MinRevision = 1 << 30
		return request
	})
}

func unknownIDs(a *attacker, begun func()) {
	a.statusCalls(begun, 50, a.reads, func(rng *rand.Rand) *verificationv1.GetStatusRequest {
		return bySession(fmt.Sprintf("vs_unheard%016x", rng.Uint64()))
	})
}

func unknownReferences(a *attacker, begun func()) {
	a.statusCalls(begun, 50, a.reads, func(rng *rand.Rand) *verificationv1.GetStatusRequest {
		reference := fmt.Sprintf("unheard-%016x", rng.Uint64())
		return &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: reference}}
	})
}

// retries ask for links of sessions, one after the other.
func retries(a *attacker, begun func(), workers int, sessions ...string) {
	connections := a.connect(8)
	defer shut(connections)
	a.first = begun
	a.loop(workers, paced(workers), func(worker int, rng *rand.Rand) {
		a.call(a.as(a.Retrier), func(ctx context.Context) error {
			request := &verificationv1.RetryVerificationRequest{SessionId: sessions[rng.IntN(len(sessions))]}
			_, err := verificationv1.NewVerificationServiceClient(connections[worker%8]).RetryVerification(ctx, request)
			return err
		})
	})
}
