package e2e

import (
	"context"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// wantRefused posts an event to a server whose Redis is unavailable: it is to be sent again later.
func wantRefused(t *testing.T, p *rig.Process, e rig.Event) {
	t.Helper()
	response, text, err := rig.Post(rig.NewHTTPClient(t), p.Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Fatalf("event %s without Redis: %s, Retry-After %q, %q", e.ID, response.Status, response.Header.Get("Retry-After"), text)
	}
}

// wantUnavailable asks for a status and a retry of a server whose Redis is unavailable.
func wantUnavailable(t *testing.T, client verificationv1.VerificationServiceClient, id string, limit time.Duration) {
	t.Helper()
	_, err := client.GetStatus(rig.Within(t, limit), &verificationv1.GetStatusRequest{
		Subject:        &verificationv1.GetStatusRequest_SessionId{SessionId: id},
		IncludeHistory: true, // else memory may answer for a second
	})
	rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
	_, err = client.RetryVerification(rig.Within(t, limit), &verificationv1.RetryVerificationRequest{SessionId: id})
	rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
}

// receive reads a stream in the background: its revisions, then its error.
func receive(stream grpc.ServerStreamingClient[verificationv1.WatchStatusResponse]) (<-chan int32, <-chan error) {
	revisions, end := make(chan int32, 100), make(chan error, 1)
	go func() {
		for {
			response, err := stream.Recv()
			if err != nil {
				end <- err
				return
			}
			revisions <- response.GetVerification().GetRevision()
		}
	}()
	return revisions, end
}

func wantRevision(t *testing.T, revisions <-chan int32, want int32) {
	t.Helper()
	select {
	case got := <-revisions:
		if got != want {
			t.Fatalf("revision %d; want %d", got, want)
		}
	case <-time.After(rig.Soon):
		t.Fatalf("no revision %d", want)
	}
}

// TestG3_RedisGoesAndComesBack: without Redis nothing is acknowledged and nothing is invented. Streams stay open. When
// Redis is back, everything works again.
func TestG3_RedisGoesAndComesBack(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	p := rig.Serve(t, rig.Settings(redis.Addr, "STRIPE_API_KEY="+rig.APIKey, "STRIPE_API_BASE=http://127.0.0.1:1"))
	client, events := rig.ClientOf(t, p), rig.Tries("vs_Outage", 5)
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, events[0])
	stream, err := client.WatchStatus(t.Context(), rig.WatchSessionRequest("vs_Outage", ""))
	if err != nil {
		t.Fatal(err)
	}
	revisions, end := receive(stream)
	wantRevision(t, revisions, 1)

	redis.Stop()
	wantRefused(t, p, events[1])
	wantUnavailable(t, client, "vs_Outage", 5*time.Second)
	if fresh, err := client.WatchStatus(rig.Within(t, rig.Soon), rig.WatchSessionRequest("vs_Outage", "")); err != nil {
		t.Fatal(err)
	} else if _, err := fresh.Recv(); err != nil {
		rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
	}
	p.AwaitReady(http.StatusServiceUnavailable)
	select {
	case err := <-end:
		rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
		t.Fatal("the stream has ended; it should outlive the outage")
	default:
	}

	redis.Start()
	p.AwaitReady(http.StatusOK)
	for _, e := range events[1:] {
		rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, e)
	}
	for revision := range int32(4) {
		wantRevision(t, revisions, revision+2)
	}
	if got := rig.GetStatus(t, client, "vs_Outage"); got.GetVerification().GetRevision() != 5 || got.GetVerification().GetRetry().GetFailedAttempts() != 2 {
		t.Errorf("afterwards: %v", got.GetVerification())
	}
}

// TestG3_RedisHangs: silent connections are worse than refused ones. Every caller gets an answer within its deadline that
// says what is wrong.
func TestG3_RedisHangs(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr, "STRIPE_API_KEY="+rig.APIKey, "STRIPE_API_BASE=http://127.0.0.1:1"))
	client, events := rig.ClientOf(t, p), rig.Tries("vs_Hang", 3)
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, events[0])

	redis.Pause()
	began := time.Now()
	wantUnavailable(t, client, "vs_Hang", time.Second)
	wantRefused(t, p, events[1])
	t.Logf("all refused in %v", time.Since(began).Round(time.Millisecond))
	redis.Resume()
	p.AwaitReady(http.StatusOK)
	// A refused event can have been written all the same: it counts once.
	for range 2 {
		rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, events[1])
		rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, events[2])
	}
	rig.CheckHistory(t, rig.GetStatus(t, client, "vs_Hang"), []string{events[0].ID, events[1].ID, events[2].ID})
}

// TestG3_OutageOfRedisAtStart: the process listens all the same, says that it is not ready, and recovers.
func TestG3_OutageOfRedisAtStart(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.Stop()
	p := rig.Launch(t, rig.Settings(redis.Addr, "STRIPE_API_KEY="+rig.APIKey, "STRIPE_API_BASE=http://127.0.0.1:1"), "serve")
	p.AwaitListening()
	p.AwaitReady(http.StatusServiceUnavailable)
	events := rig.Tries("vs_Early", 2)
	wantRefused(t, p, events[0])
	wantUnavailable(t, rig.ClientOf(t, p), "vs_Early", 5*time.Second)
	redis.Start()
	p.AwaitReady(http.StatusOK)
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, events[0])
	rig.CheckHistory(t, rig.GetStatus(t, rig.ClientOf(t, p), "vs_Early"), []string{events[0].ID})
}

// TestG7_G8_RedisLosesEverything: a Redis that comes back empty is noticed: no token and no revision
// of before is answered with silence.
func TestG7_G8_RedisLosesEverything(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr))
	client, events := rig.ClientOf(t, p), rig.Tries("vs_Lost", 6)
	for _, e := range events[:5] {
		rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, e)
	}
	tokens := map[string]func(string) *verificationv1.WatchStatusRequest{}
	for _, request := range []func(string) *verificationv1.WatchStatusRequest{
		func(token string) *verificationv1.WatchStatusRequest {
			return rig.WatchSessionRequest("vs_Lost", token)
		}, rig.WatchAllRequest,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := client.WatchStatus(ctx, request(""))
		if err != nil {
			t.Fatal(err)
		}
		response, err := stream.Recv()
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		tokens[response.GetResumeToken()] = request
	}
	redis.Stop()
	p.AwaitReady(http.StatusServiceUnavailable)
	redis.Start()
	p.AwaitReady(http.StatusOK)
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, events[0])
	for token, request := range tokens {
		stream, err := client.WatchStatus(rig.Within(t, rig.Soon), request(token))
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		rig.WantError(t, err, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
	}
	_, err := client.GetStatus(rig.Within(t, rig.Soon), &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_Lost"}, MinRevision: 5,
	})
	rig.WantError(t, err, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST)
}

// TestRedisThatMustNotBeUsedEndsTheProcess: a Redis that can evict sessions is a wrong setting, which ends the process.
func TestRedisThatMustNotBeUsedEndsTheProcess(t *testing.T) {
	redis := redistest.Start(t, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
	p := rig.Launch(t, rig.Settings(redis.Addr), "serve")
	if code := p.Exit(rig.Soon); code == 0 || !strings.Contains(p.Stderr.String(), "noeviction") {
		t.Errorf("exit code %d: %s", code, p.Stderr.String())
	}
}

// TestG12_StopDuringAnOutageOfRedis: also then the process ends by itself, in order and in time.
func TestG12_StopDuringAnOutageOfRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	const limit = 3 * time.Second
	p := rig.Serve(t, rig.Settings(redis.Addr, "DRAIN_TIMEOUT="+limit.String()))
	client := rig.ClientOf(t, p)
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, rig.Tries("vs_Away", 1)[0])
	stream, err := client.WatchStatus(t.Context(), rig.WatchSessionRequest("vs_Away", ""))
	if err != nil {
		t.Fatal(err)
	}
	revisions, end := receive(stream)
	wantRevision(t, revisions, 1)
	redis.Pause()
	defer redis.Resume()
	answers := sendUnderWay(t, p, 3)
	p.Signal(syscall.SIGTERM)
	began := time.Now()
	if code := p.Exit(limit + 2*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("ended in %v of %v", time.Since(began).Round(time.Millisecond), limit)
	// They were refused or cut off: Stripe sends them again.
	if kept, _ := answers(); len(kept) != 0 {
		t.Errorf("%d webhooks were acknowledged without Redis", len(kept))
	}
	select {
	case err := <-end:
		rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_DRAINING)
	case <-time.After(limit):
		t.Error("the watch did not end")
	}
}
