package app

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
)

// runningApp is a whole server in this process.
type runningApp struct {
	watch verificationv1.VerificationServiceClient
	feed  verificationv1.FeedServiceClient
	stop  func()
}

func startApp(t *testing.T, redis string) *runningApp {
	t.Helper()
	settings := config.Defaults()
	settings.GRPCAddr, settings.WebhookAddr, settings.AdminAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	settings.RedisURL, settings.StripeWebhookSecret = "redis://"+redis, "whsec_simulated"
	if err := settings.Load(); err != nil {
		t.Fatal(err)
	}
	a, err := New(settings, slog.New(slog.DiscardHandler), telemetry.NewSecrets(), Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan Addrs, 1), make(chan error, 1)
	go func() { ended <- a.Run(ctx, func(addrs Addrs) { started <- addrs }) }()
	stopped := false
	r := &runningApp{stop: func() {
		if cancel(); !stopped {
			stopped = true
			if err := await.One(t, ended); err != nil {
				t.Errorf("the server ended with %v", err)
			}
		}
	}}
	t.Cleanup(r.stop)
	connection, err := grpc.NewClient(await.One(t, started).GRPC.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	r.watch, r.feed = verificationv1.NewVerificationServiceClient(connection), verificationv1.NewFeedServiceClient(connection)
	return r
}

// TestG14_AServerThatStopsGivesItsConsumersBack: the next stream is served at once, by another server.
func TestG14_AServerThatStopsGivesItsConsumersBack(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t).Addr
	one, two := startApp(t, redis), startApp(t, redis)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	request := &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{
		AllSessions: &verificationv1.AllSessions{Consumer: "mailer", OutcomesOnly: true},
	}}
	open := func(r *runningApp) grpc.ServerStreamingClient[verificationv1.WatchStatusResponse] {
		t.Helper()
		stream, err := r.watch.WatchStatus(ctx, request, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		first, err := stream.Recv()
		if err != nil || first.GetConsumer() != "mailer" {
			t.Fatalf("the first response is %v, %v; want one that names the consumer", first, err)
		}
		return stream
	}
	stream := open(one)
	one.stop()
	if _, err := stream.Recv(); err == nil {
		t.Error("the stopped server sends on")
	}
	request.GetAllSessions().MustExist = true
	open(two)
	got, err := two.feed.ListConsumers(ctx, &verificationv1.ListConsumersRequest{})
	want := []*verificationv1.Consumer{{Name: "mailer", Active: true, Lag: &durationpb.Duration{}}}
	if diff := cmp.Diff(want, got.GetConsumers(), protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("ListConsumers: %v; -want +got:\n%s", err, diff)
	}
}
