package e2e

import (
	"flag"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

var olderProgram = flag.String("consumers.older", "", "the test program of the version before (go test -c ./server/tests/e2e), which is the older server of TestG14_AnOlderServerServesNoConsumer; by default this version, seen through a proxy that ignores consumers")

// olderServer is a server of the version before: it ignores the consumer of a watch, and has no FeedService.
type olderServer struct {
	*rig.Process
	watches func() int // how many watches of a consumer reached it; nil: not known
}

// awaitCalls waits until the program has opened two more streams at the older server, so that it has got the end of the first one.
func (o olderServer) awaitCalls(p *program) {
	p.t.Helper()
	if o.watches == nil {
		return
	}
	before := o.watches()
	rig.Await(p.t, p.name+" calls the older server", func() bool { return p.hasEnded() || o.watches() > before+1 })
}

func serveOlder(t *testing.T, settings []string) olderServer {
	t.Helper()
	if *olderProgram != "" {
		return olderServer{rig.AwaitServing(rig.LaunchProgram(t, *olderProgram, settings, "serve")), nil}
	}
	p := rig.Serve(t, settings)
	proxy := &olderProxy{behind: rig.ClientOf(t, p)}
	server := grpc.NewServer()
	verificationv1.RegisterVerificationServiceServer(server, proxy)
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
		await.One(t, served)
	})
	p.GRPC = listener.Addr().String()
	return olderServer{p, func() int { return int(proxy.watches.Load()) }}
}

// olderProxy makes a server older: it removes the fields that the version before does not know from requests and answers.
type olderProxy struct {
	verificationv1.UnimplementedVerificationServiceServer
	behind  verificationv1.VerificationServiceClient
	watches atomic.Int64
}

func (o *olderProxy) WatchStatus(request *verificationv1.WatchStatusRequest, stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
	if all := request.GetAllSessions(); all != nil {
		if all.GetConsumer() != "" {
			o.watches.Add(1)
		}
		request.Subject = &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}}
	}
	behind, err := o.behind.WatchStatus(stream.Context(), request)
	for err == nil {
		var response *verificationv1.WatchStatusResponse
		if response, err = behind.Recv(); err == nil {
			if v := response.GetVerification(); v != nil {
				v.OutcomeRevision, v.OutcomeId, v.Replaces = 0, "", ""
			}
			err = stream.Send(response)
		}
	}
	return err
}

// TestG14_AnOlderServerServesNoConsumer: during an update, a program reaches a server of the version before, which ignores the consumer. It
// acts on nothing that this server sends, and finds a newer one. Its consumer survives while only older servers run. What these commit
// reaches the program later.
func TestG14_AnOlderServerServesNoConsumer(t *testing.T) {
	t.Parallel() // it mostly waits
	redis := redistest.Start(t)
	newSettings := rig.Settings(redis.Addr, "RECORD_FORMAT=1")
	older, newer := serveOlder(t, rig.Settings(redis.Addr)), rig.Serve(t, newSettings)
	names := manual.NewBuilderWithScheme("roll")
	show := func(servers ...*rig.Process) {
		var state resolver.State
		for _, p := range servers {
			state.Addresses = append(state.Addresses, resolver.Address{Addr: p.GRPC})
		}
		names.UpdateState(state)
	}
	names.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: older.GRPC}}})
	sender := rig.NewHTTPClient(t)
	events := rig.Tries("vs_Rolled", 9)
	deliver := func(p *rig.Process, n int) {
		t.Helper()
		for _, e := range events[:n] {
			rig.Deliver(t, sender, p.Webhook, e)
		}
		events = events[n:]
	}
	service := rig.ClientOf(t, newer)
	complete := func(consumer *program) {
		t.Helper()
		if consumer.wantCompleteOrRefused(service, []string{"vs_Rolled"}) {
			t.Fatalf("%s is refused: %v", consumer.name, consumer.refused)
		}
	}

	// The consumer is created by a program that knows the newer server alone.
	first := newProgram(t, "mailer", newer.GRPC)
	first.start(false)
	deliver(newer, 2)
	complete(first)
	first.halt()

	// Another instance knows the older server alone.
	second := newProgram(t, "mailer", "roll:///verification-status", client.WithDialOptions(grpc.WithResolvers(names)))
	second.start(true)
	older.awaitCalls(second)
	deliver(older.Process, 2)
	show(older.Process, newer)
	complete(second)
	if first.again+second.again > 0 {
		t.Errorf("%d outcomes came again", first.again+second.again)
	}

	// Only the older server runs for a while.
	newer.Signal(syscall.SIGTERM)
	newer.Exit(rig.Soon)
	show(older.Process)
	older.awaitCalls(second)
	deliver(older.Process, 3)
	newer = rig.Serve(t, newSettings)
	newer.Await("the metrics show the consumer", func() bool { return metric(t, newer, `verification_consumer_expired{consumer="mailer"}`) == "0" })
	service = rig.ClientOf(t, newer)
	show(older.Process, newer)
	deliver(newer, 2)
	complete(second)
	if n := len(first.acted) + len(second.acted); n != 9 {
		t.Errorf("outcomes acted on: got %d, want 9", n)
	}
}
